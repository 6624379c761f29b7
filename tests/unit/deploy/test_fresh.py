"""A file is run in a process that knows nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from torchkiln.deploy import fresh
from torchkiln.errors import ExportError


def doubling(file: Path, input_name: str = "x", inner: str = "y") -> Path:
    """y = x + x; an inner value of the input's name makes a file that ONNX Runtime refuses."""
    nodes = [helper.make_node("Add", [input_name, input_name], [inner]), helper.make_node("Identity", [inner], ["out"])]
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 2]) for n in (input_name, "out")]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), file)
    return file


def test_answers_come_back_by_our_names(tmp_path: Path) -> None:
    file = doubling(tmp_path / "m.onnx", "x_")
    cases = [{"x": np.full((n, 2), n, np.float32)} for n in (1, 3)]
    found = fresh.run("onnx", file, cases, {"x": "x_", "value": "out"})
    assert [a["value"].tolist() for a in found] == [(2 * c["x"]).tolist() for c in cases]


def test_a_file_that_runtime_refuses_is_no_success(tmp_path: Path) -> None:
    file = doubling(tmp_path / "m.onnx", "cat", "cat")
    with pytest.raises(ExportError, match=r"m\.onnx cannot be run in a fresh process: .*Duplicate definition"):
        fresh.run("onnx", file, [{"cat": np.zeros((1, 2), np.float32)}], {"cat": "cat", "value": "out"})


def test_a_file_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh, "PATIENCE", 0.01)
    with pytest.raises(ExportError, match="did not answer within"):
        fresh.run("onnx", tmp_path / "m.onnx", [{"x": np.zeros(1)}], {"x": "x", "value": "out"})
