from __future__ import annotations

import torch
from torch import nn

from torchkiln.checks.guard.known import content, names, stochastic, tensors


def test_tensors_at_any_depth() -> None:
    a, b = torch.ones(1), torch.zeros(1)
    assert [id(t) for t in tensors(((a,), {"x": {"b": b}, "n": 3}))] == [id(a), id(b)]
    assert len(tensors([a] * 20)) == 8 and tensors("no") == []


def test_layers_that_differ_in_evaluation() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.0), nn.Dropout(0.5), nn.LayerNorm(2))
    assert stochastic(net) == ["1 (BatchNorm1d)", "3 (Dropout)"]
    assert stochastic(net.eval()) == []


def test_names_of_parameters() -> None:
    net = nn.Linear(2, 3)
    assert names(net, [net.weight, nn.Parameter(torch.zeros(5))]) == "weight, one of shape [5]"
    assert names(None, [net.weight] * 5).endswith("and 2 more")


def test_contents_are_told_apart() -> None:
    x = torch.randn(8, 3)
    assert content([x]) == content([x.clone()]) != content([x + 1])
    assert content([]) is None
