"""One `torch.export` of a graph, from which every file is made."""

from __future__ import annotations

from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from torchkiln.codec.base import Axis
from torchkiln.deploy.graph import EXAMPLE_BATCH, Graph, example

EXAMPLE_LENGTH = 8
"""Of every axis that varies, in the example that is traced."""


def trace(graph: Graph) -> ExportedProgram:
    """The program of a graph, its batch and other axes free.

    Axes are first asked to stay free; where torch cannot promise that of one it may decide by itself, and the runs at
    other sizes that follow tell whether it stayed free.
    """
    values = example_of(graph)
    try:
        return _exported(graph, values, Dim.DYNAMIC)
    except Exception:  # of many kinds, and the second attempt raises them again
        return _exported(graph, values, Dim.AUTO)


def example_of(graph: Graph) -> tuple[torch.Tensor, ...]:
    """The tensors that a graph is traced with; they travel with a .pt2, so they are made up."""
    lengths = {axis.name: min(EXAMPLE_LENGTH, axis.most or EXAMPLE_LENGTH) for axis in graph.axes}
    made = example(graph.inputs, EXAMPLE_BATCH, lengths)
    return tuple(torch.from_numpy(made[spec.name]) for spec in graph.inputs)


def _exported(graph: Graph, values: tuple[torch.Tensor, ...], free: Any) -> ExportedProgram:
    shapes = tuple({i: free for i, n in enumerate(spec.shape) if isinstance(n, Axis)} for spec in graph.inputs)
    with torch.no_grad():
        return torch.export.export(graph.module, values, dynamic_shapes=shapes)
