"""A small net as a graph, and its program: each export takes a second, so it is done once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from torchkiln.codec.base import BATCH, ArraySpec, Axis
from torchkiln.deploy import program
from torchkiln.deploy.graph import Graph, of_module

SPECS = [
    ArraySpec("cat", "int64", (BATCH, Axis("length", 40)), below=9),
    ArraySpec("numeric", "float32", (BATCH, 3)),
]


class Net(nn.Module):
    """Two inputs, one of them of any length, joined by an operation that is called as the first is."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.drop, self.head = nn.Embedding(9, 4), nn.Dropout(0.5), nn.Linear(7, 2)

    def forward(self, cat: Tensor, numeric: Tensor) -> Tensor:
        found: Tensor = self.head(self.drop(torch.cat([self.words(cat).mean(dim=1), numeric], dim=1)))
        return found


@pytest.fixture(scope="session")
def graph() -> Graph:
    return of_module(Net(), SPECS, by_name=False, kind="tensor", predicted=None)


@pytest.fixture(scope="session")
def traced(graph: Graph) -> ExportedProgram:
    return program.trace(graph)
