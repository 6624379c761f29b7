"""A compiled net stands beside the net and leaves it alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torchkiln.training import compiling


def test_the_net_keeps_its_names_and_its_own_forward() -> None:
    net = nn.Linear(3, 3)
    made = compiling.compiled(net, "reduce-overhead")
    assert made is not net and net._compiled_call_impl is None
    assert list(net.state_dict()) == ["weight", "bias"]
    assert next(made.parameters()) is net.weight


def test_more_layers_are_presumed_to_take_longer() -> None:
    assert compiling.presumed_seconds(nn.Sequential(*[nn.Linear(1, 1)] * 3, *[nn.ReLU() for _ in range(40)])) > 10
    assert compiling.presumed_seconds(nn.Linear(1, 1)) < 5


class Breaks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.a(x)
        return x * 2 if x.sum() > 0 else x


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_graph_breaks_and_recompilations_are_counted() -> None:
    counted = compiling.Compilations()
    made = compiling.compiled(Breaks(), "default")
    x = torch.ones(3, 4)
    made(x)
    assert counted.counted() == {"graphs": 2, "graph_breaks": 1, "recompiles": 0}
    made(torch.ones(5, 4))
    found = counted.counted()
    assert found["recompiles"] >= 1 and "size mismatch" in found["because"]
    compiling.forget()
    assert compiling.Compilations().counted()["graphs"] == 0
