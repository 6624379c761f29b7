"""An exported program to an ONNX file: one opset, names of ours, nothing of this machine in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch.export import ExportedProgram

from torchkiln.codec.base import Axis
from torchkiln.deploy.graph import Graph

OPSET = 20
LARGEST = 1_800_000_000
"""Bytes of weights up to which they are in the file itself; ONNX ends at 2 GB."""
_BESIDE = 1024
"""Bytes of a tensor from which it goes into the other file."""


def write(program: ExportedProgram, graph: Graph, file: Path) -> dict[str, str]:
    """Write the file, and give our names of the tensors with the file's.

    Args:
        program: As traced.
        graph: What it was traced from.
        file: To write; weights of more than `LARGEST` bytes lie beside it, in a file of that name and `.data`.
    """
    made = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False)
    assert made is not None
    model = made.model
    names = rename(model.graph, [spec.name for spec in graph.inputs], graph.outputs)
    _name_axes(model.graph, graph)
    large = sum(p.numel() * p.element_size() for p in graph.module.state_dict().values()) > LARGEST
    proto = made.model_proto
    strip(proto)
    _save(proto, file, large)
    return names


def rename(graph: Any, inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, str]:
    """Give inputs and outputs our names, each with `_` behind it until nothing else in the graph is called so.

    An input called like a value inside is exported without a word, and refused by ONNX Runtime.

    Returns:
        Our names to those in the file.
    """
    ends = [*zip(graph.inputs, inputs, strict=True), *zip(graph.outputs, outputs, strict=True)]
    own = {id(value) for value, _ in ends}
    taken = {v.name for v in _values(graph) if id(v) not in own}
    names = {}
    for value, name in ends:
        free = name
        while free in taken:
            free += "_"
        value.name = names[name] = free
        taken.add(free)
    return names


def _values(graph: Any) -> Iterator[Any]:
    """All values of a graph and of those inside its nodes."""
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph.all_nodes():
        yield from node.outputs
        for attribute in node.attributes.values():
            if isinstance(attribute.value, type(graph)):
                yield from attribute.value.inputs
                yield from attribute.value.initializers.values()


def _name_axes(graph: Any, of: Graph) -> None:
    for value, spec in zip(graph.inputs, of.inputs, strict=True):
        for i, n in enumerate(spec.shape):
            value.shape[i] = n.name if isinstance(n, Axis) else n


def strip(proto: Any) -> None:
    """Take out what says where and from which lines the file was made, and shapes that others work out again."""
    for part in (proto, proto.graph, *proto.functions):
        _bare(part)
    del proto.graph.value_info[:]
    _strip_all(proto.graph)
    for function in proto.functions:
        del function.value_info[:]
        _bare_all(function.node)


def _strip_all(graph: Any) -> None:
    _bare_all((*graph.input, *graph.output, *graph.initializer))
    _bare_all(graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                del attribute.g.value_info[:]
                _bare(attribute.g)
                _strip_all(attribute.g)


def _bare_all(parts: Iterable[Any]) -> None:
    for part in parts:
        _bare(part)


def _bare(part: Any) -> None:
    part.doc_string = ""
    del part.metadata_props[:]


def _save(proto: Any, file: Path, large: bool) -> None:
    if large:
        onnx.save(proto, file, save_as_external_data=True, location=f"{file.name}.data", size_threshold=_BESIDE)
    else:
        file.write_bytes(proto.SerializeToString(deterministic=True))
