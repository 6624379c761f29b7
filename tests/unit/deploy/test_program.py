"""One export of a graph, all its axes free."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from torchkiln.codec.base import BATCH, ArraySpec
from torchkiln.deploy import program
from torchkiln.deploy.graph import Graph, of_module
from torchkiln.errors import ExportError


def test_any_batch_and_length_and_no_line_of_source(graph: Graph, traced: ExportedProgram) -> None:
    assert traced.graph_signature.user_inputs == ("cat", "numeric")
    assert all("stack_trace" not in node.meta for node in traced.graph.nodes)
    for case in graph.cases():
        given = [torch.from_numpy(case[spec.name]) for spec in graph.inputs]
        torch.testing.assert_close(traced.module()(*given)[0], graph.module(*given)[0])


def test_the_example_is_made_up(graph: Graph) -> None:
    cat, numeric = program.example_of(graph)
    assert cat.shape == (2, 8) and numeric.shape == (2, 3)


def test_a_batch_that_became_a_constant_is_told() -> None:
    class ByRow(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([row * 2 for row in x.unbind()])

    made = of_module(ByRow(), [ArraySpec("x", "float32", (BATCH, 2))], False, "tensor", None)
    with pytest.raises(ExportError, match="the batch of x became the constant 2; let no loop run over it"):
        program.trace(made)
