"""Weights that an ONNX file keeps elsewhere are found wherever a tensor can stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bundles
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from torchkiln import bundle
from torchkiln.bundle import external
from torchkiln.errors import BundleError


def outside(location: str) -> TensorProto:
    tensor = numpy_helper.from_array(np.zeros(1, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "4")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def graph(nodes: list[Any], weights: list[Any]) -> Any:
    return helper.make_graph(nodes, "g", [], [], weights)


def constant(name: str) -> Any:
    return helper.make_node("Constant", [], ["c"], value=outside(name))


def test_every_place_of_a_tensor_is_looked_at(tmp_path: Path) -> None:
    inner = graph([constant("in_a_branch")], [outside("weight_of_a_branch")])
    branch = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    sparse = helper.make_sparse_tensor(outside("sparse"), numpy_helper.from_array(np.zeros(1, np.int64)), [1])
    rare = helper.make_node("Constant", [], ["r"], sparse_value=helper.make_sparse_tensor(
        outside("rare"), numpy_helper.from_array(np.zeros(1, np.int64)), [1]))  # fmt: skip
    whole = graph([constant("constant"), branch, rare], [outside("weight")])
    whole.sparse_initializer.append(sparse)
    model = helper.make_model(whole)
    model.functions.append(helper.make_function("d", "f", [], ["c"], [constant("in_a_function")], []))
    training = model.training_info.add()
    training.algorithm.CopyFrom(graph([], [outside("training")]))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert external.locations(tmp_path / "m.onnx") == {
        "constant", "weight", "in_a_branch", "weight_of_a_branch", "sparse", "in_a_function", "training",
        "rare",
    }  # fmt: skip


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "sub/w", "unknown", ""])
def test_weights_outside_of_the_bundle_are_refused(location: str, tmp_path: Path) -> None:
    model = helper.make_model(graph([], [outside(location)]))
    path = bundles.table(tmp_path / "b", files={"more.onnx": model.SerializeToString(), "sub/w": bytes(4)})
    with pytest.raises(BundleError, match=r"more\.onnx"):
        bundle.load(path)


def test_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    made = bundles.table(tmp_path / "b")
    expected = bundle.load(made).predict(bundles.RECORD)
    whole = onnx.load(str(made / "model.onnx"))
    onnx.save(whole, str(tmp_path / "model.onnx"), save_as_external_data=True, location="w.data", size_threshold=0)
    files = {name: (tmp_path / name).read_bytes() for name in ("model.onnx", "w.data")}
    made = bundles.table(tmp_path / "c", files=files)
    assert bundle.load(made).predict(bundles.RECORD) == expected
    assert external.locations(made / "model.onnx") == {"w.data"}


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, b"\x3a\xff\x01", b"\x3b", b"\x3a\x02\x0a"])
def test_what_is_no_onnx_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"m\.onnx is"):
        external.locations(tmp_path / "m.onnx")
