"""Triton's own reader takes the repository, and its tensors are those of the file."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import bundles
import onnx
import pytest
from google.protobuf import text_format

from torchkiln import bundle
from torchkiln.bundle import triton
from torchkiln.bundle.manifest import ModelFile, Tensor


def parsed(text: str) -> Any:
    """As Triton reads it: by the definition of ModelConfig that its client carries."""
    path = importlib.metadata.distribution("tritonclient").locate_file("tritonclient/grpc/model_config_pb2.py")
    spec = importlib.util.spec_from_file_location("model_config_pb2", str(path))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return text_format.Parse(text, module.ModelConfig())


@pytest.mark.parametrize("make", [bundles.table, bundles.text, bundles.pictures, bundles.tensors])
def test_the_repository_is_of_the_very_model(make: Any, tmp_path: Path) -> None:
    made = bundle.load(make(tmp_path / "b")).manifest
    folder = tmp_path / "b"
    triton.write(folder, "my model/1", made.models["onnx"], made.inputs, made.outputs, bundles.CLASSES)
    (there,) = [p for p in (folder / "triton").iterdir() if p.is_dir()]
    config = parsed((there / "config.pbtxt").read_text())
    assert config.name == there.name == "my_model_1" and config.dynamic_batching.max_queue_delay_microseconds == 0
    assert (there / "1" / "model.onnx").read_bytes() == (folder / "model.onnx").read_bytes()
    graph = onnx.load(str(folder / "model.onnx")).graph
    for ours, theirs in ((config.input, graph.input), (config.output, graph.output)):
        for one, other in zip(ours, theirs, strict=True):
            dims = [d.dim_value or -1 for d in other.type.tensor_type.shape.dim][1:]
            assert (one.name, list(one.dims)) == (other.name, dims)
    assert config.output[0].label_filename == "labels.txt"
    assert (there / "labels.txt").read_text().split() == bundles.CLASSES
    warm = config.model_warmup[0].inputs
    assert set(warm) == {t.name for t in graph.input} and all(min(v.dims) > 0 for v in warm.values())


def test_a_plain_number_is_reshaped_and_names_are_the_files() -> None:
    model = ModelFile("m.onnx", True, {"x": "x_"}, {"value": "out"})
    text = triton.config("m", model, [Tensor("x", "uint8", [None, 3])], [Tensor("value", "float32", [None])], [])
    config = parsed(text)
    assert (config.input[0].name, config.output[0].name) == ("x_", "out")
    assert list(config.output[0].dims) == [1] and config.output[0].HasField("reshape")
    assert config.output[0].label_filename == ""
