"""One `torch.export` of a graph, from which every file is made."""

from __future__ import annotations

from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from torchkiln.codec.base import Axis
from torchkiln.deploy.graph import EXAMPLE_BATCH, Graph, example
from torchkiln.errors import ExportError

EXAMPLE_LENGTH = 8
"""Of every axis that varies, in the example that is traced."""


def trace(graph: Graph) -> ExportedProgram:
    """The program of a graph, its batch and other axes free.

    Axes are first asked to stay free; where torch cannot promise that of one it may decide by itself, and the runs at
    other sizes that follow tell whether it stayed free.
    """
    values = example_of(graph)
    try:
        made = _exported(graph, values, Dim.DYNAMIC)
    except Exception:  # of many kinds, and the second attempt raises them again
        made = _exported(graph, values, Dim.AUTO)
    _check_free(made, graph)
    for module in made.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)  # lines of files on this machine
    return made


def example_of(graph: Graph) -> tuple[torch.Tensor, ...]:
    """The tensors that a graph is traced with; they travel with a .pt2, so they are made up."""
    lengths = {axis.name: min(EXAMPLE_LENGTH, axis.most or EXAMPLE_LENGTH) for axis in graph.axes}
    made = example(graph.inputs, EXAMPLE_BATCH, lengths)
    return tuple(torch.from_numpy(made[spec.name]) for spec in graph.inputs)


def _exported(graph: Graph, values: tuple[torch.Tensor, ...], free: Any) -> ExportedProgram:
    shapes = tuple({i: free for i, n in enumerate(spec.shape) if isinstance(n, Axis)} for spec in graph.inputs)
    with torch.no_grad():
        return torch.export.export(graph.module, values, dynamic_shapes=shapes)


def _check_free(made: ExportedProgram, graph: Graph) -> None:
    """Whether every axis stayed free.

    Raises:
        ExportError: One became a constant.
    """
    values = {node.name: node.meta["val"] for node in made.graph.nodes if node.op == "placeholder"}
    for spec, name in zip(graph.inputs, made.graph_signature.user_inputs, strict=True):
        for size, axis in zip(values[str(name)].shape, spec.shape, strict=True):
            constant = size if isinstance(size, int) else size.node.maybe_as_int()
            if isinstance(axis, Axis) and constant is not None:
                raise ExportError(f"the net cannot be exported: the {axis.name} of {spec.name} became the constant "
                                  f"{constant}; let no loop run over it, nor Python read it as a number")  # fmt: skip
