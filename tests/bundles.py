"""Small bundles made without torch, for every test that reads one: a fitted codec and a graph by hand."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from torchkiln.bundle import schema
from torchkiln.bundle.write import Draft
from torchkiln.codec import table_fit
from torchkiln.codec.base import ArraySpec, Axis, Codec
from torchkiln.codec.image import ImageCodec
from torchkiln.codec.target import Labels, Number
from torchkiln.codec.text import NgramCodec, TokenCodec

CLASSES = ["no", "yes"]
RECORD = {"age": 31.5, "height": 170, "town": "Ulm", "since": "2020-03-01"}
"""One that the bundle of `table` takes."""
TEXTS = ["a good film", "a bad film", "good and short", "bad and long", "what a film"] * 3


def table(
    folder: Path, *, target: str = "classes", without: Sequence[str] = (), parts: dict[str, Any] | None = None,
    **finish: Any,
) -> Path:  # fmt: skip
    """Numbers with gaps, a name and a date, or all but some of them, into two classes, or into a number."""
    rng = np.random.default_rng(0)
    rows = 120
    age = rng.normal(40, 12, rows)
    frame = pl.DataFrame(
        {
            "age": age,
            "height": [None if i % 7 == 0 else 150 + i % 50 for i in range(rows)],
            "town": [["Ulm", "Bonn", "Kiel", None][i % 4] for i in range(rows)],
            "since": [f"2020-{1 + i % 12:02}-{1 + i % 28:02}" for i in range(rows)],
        }
    )
    labels = np.where(age > 40, "yes", "no")
    inputs, _ = table_fit.fit(frame, (labels == "yes").astype(np.int64), classes=True, exclude=without)
    codec = Codec(inputs, Labels("y", CLASSES) if target == "classes" else Number("y", 0.0, 1.0, -9.0, 9.0))
    made = inputs.encode(frame)
    numeric, categorical = made["numeric"].shape[1], made["categorical"].shape[1]
    outputs = 2 if target == "classes" else 1
    weights = {
        "w": rng.normal(size=(numeric, outputs)).astype(np.float32),
        "v": rng.normal(size=(categorical, outputs)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["numeric", "w"], ["a"]),
        helper.make_node("Cast", ["categorical"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["c", "v"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["sum"]),
    ]
    if target == "number":
        weights["axes"] = np.array([1], np.int64)
        nodes.append(helper.make_node("Squeeze", ["sum", "axes"], ["value"]))
    given = [("numeric", "float32", [None, numeric]), ("categorical", "int64", [None, categorical])]
    return write(folder, codec, given, nodes, weights, parts=parts, **finish)


def text(folder: Path, *, kind: str = "ngrams", parts: dict[str, Any] | None = None, **finish: Any) -> Path:
    """Texts into two classes, by n-grams or by tokens."""
    frame = pl.DataFrame({"text": TEXTS})
    inputs: Any = NgramCodec.fit(frame, "text") if kind == "ngrams" else TokenCodec.fit(frame, "text", 16, 300)
    rng = np.random.default_rng(0)
    weights = {"e": rng.normal(size=(inputs.size, 2)).astype(np.float32), "axes": np.array([1], np.int64)}
    nodes = [helper.make_node("Gather", ["e", "ids"], ["found"])]
    given: list[tuple[str, str, list[int | None]]] = [("ids", "int32", [None, None])]
    if kind == "ngrams":
        given += [("weights", "float32", [None, None]), ("words", "int32", [None, None])]
        weights["last"] = np.array([2], np.int64)
        nodes.append(helper.make_node("Unsqueeze", ["weights", "last"], ["wide"]))
        nodes.append(helper.make_node("Mul", ["found", "wide"], ["weighed"]))
    else:  # padding counts nothing
        weights["e"][inputs.pad] = 0
        nodes.append(helper.make_node("Identity", ["found"], ["weighed"]))
    nodes.append(helper.make_node("ReduceSum", ["weighed", "axes"], ["sum"], keepdims=0))
    return write(folder, Codec(inputs, Labels("y", CLASSES)), given, nodes, weights, parts=parts, **finish)


def pictures(folder: Path, *, size: int = 8, parts: dict[str, Any] | None = None, **finish: Any) -> Path:
    """Pictures into two classes by their mean colour."""
    weights = {"w": np.array([[0.1, -0.1], [0.0, 0.0], [-0.1, 0.1]], np.float32), "axes": np.array([1, 2], np.int64)}
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["sum"]),
    ]
    codec = Codec(ImageCodec("image", size), Labels("y", CLASSES))
    return write(folder, codec, [("image", "uint8", [None, size, size, 3])], nodes, weights, parts=parts, **finish)


def tensors(folder: Path, *, parts: dict[str, Any] | None = None, **finish: Any) -> Path:
    """A person's own net: it takes `x` [batch, any, 3] and gives `output` [batch, 3], with no codec."""
    weights = {"axes": np.array([1], np.int64)}
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["output"], keepdims=0)]
    return write(folder, None, [("x", "float32", [None, None, 3])], nodes, weights, parts=parts, **finish)


def png(colour: tuple[int, int, int] = (255, 0, 0), side: int = 10) -> bytes:
    """A picture of one colour."""
    out = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(out, "PNG")
    return out.getvalue()


def write(
    folder: Path, codec: Codec | None, given: Sequence[tuple[str, str, list[int | None]]], nodes: list[Any],
    weights: dict[str, Any], *, parts: dict[str, Any] | None = None, files: dict[str, bytes] | None = None,
    **finish: Any,
) -> Path:  # fmt: skip
    """A bundle around a graph whose last node gives `sum` (before a softmax), `value` or `output`.

    Args:
        parts: Of the manifest, instead of what is usual.
        files: Further files by name.
        finish: For `Draft` (overwrite) and its `finish` (sign_key).
    """
    last = nodes[-1].output[0]
    kind = {"sum": "classes", "value": "number", "output": "tensor"}[last]
    name = "probabilities" if kind == "classes" else last
    shape: list[int | None] = [None] if kind == "number" else [None, 2 if kind == "classes" else 3]
    if kind == "classes":
        nodes = [*nodes, helper.make_node("Softmax", ["sum"], [name], axis=-1)]
    usual: dict[str, Any] = {
        "name": "small",
        "run_id": "0" * 8,
        "task": "custom" if codec is None else "made_by_hand",
        "prediction_kind": kind,
        "inputs": [
            {"name": n, "dtype": d, "shape": s, **({"pad": 0} if codec and None in s[1:] else {})} for n, d, s in given
        ],
        "outputs": [{"name": name, "dtype": "float32", "shape": shape}],
        "models": {"onnx": {"file": "model.onnx", "proven": True, "inputs": {}, "outputs": {}}},
        "serve": "onnx",
        "versions": {},
        "licences": {},
    }
    with Draft(folder, overwrite=finish.pop("overwrite", False)) as draft:
        onnx.save(_model(given, nodes, weights, name, shape), str(draft.path / "model.onnx"))
        if codec is not None:
            (draft.path / "codec.json").write_text(json.dumps(codec.state(draft.path)), encoding="utf-8")
        for file, content in (files or {}).items():
            (draft.path / file).parent.mkdir(parents=True, exist_ok=True)
            (draft.path / file).write_bytes(content)
        given_parts = {**usual, **(parts or {})}
        axes = [Axis("batch"), Axis("length", 9)]
        specs = [ArraySpec(n, d, tuple(axes[i] if x is None else x for i, x in enumerate(s))) for n, d, s in given]
        described = schema.make(codec, specs, usual["outputs"], kind)
        (draft.path / "schema.json").write_text(json.dumps(described), encoding="utf-8")
        return draft.finish(given_parts, **finish)


def _model(
    given: Sequence[tuple[str, str, list[int | None]]], nodes: list[Any], weights: dict[str, Any], name: str,
    shape: list[int | None],
) -> Any:  # fmt: skip
    def info(name: str, dtype: str, shape: list[int | None]) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return helper.make_tensor_value_info(name, kind, [f"d{i}" if s is None else s for i, s in enumerate(shape)])

    graph = helper.make_graph(
        nodes, "small", [info(*one) for one in given], [info(name, "float32", shape)],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
