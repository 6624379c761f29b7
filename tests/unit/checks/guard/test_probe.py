from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor, nn

from torchkiln.checks.guard import probe


class Mixing(nn.Module):
    """Subtracts the mean of the batch, in evaluation mode too."""

    def forward(self, x: Tensor) -> Tensor:
        print("seen")  # noqa: T201
        random.random()
        np.random.rand()  # noqa: NPY002
        return x - x.mean(0) + 0 * torch.rand(1)


def test_mixing_is_seen_and_leaves_no_trace(capsys: object) -> None:
    nets = Mixing(), nn.Linear(3, 2), nn.BatchNorm1d(3)
    x = torch.randn(6, 3)
    states = random.getstate(), np.random.get_state()[2], torch.get_rng_state()  # noqa: NPY002
    assert [probe.mixes(net, x) for net in nets] == [True, False, False]
    assert random.getstate() == states[0] and np.random.get_state()[2] == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])
    assert capsys.readouterr().out == ""  # type: ignore[attr-defined]


def test_what_may_be_seen_elsewhere_is_not_copied() -> None:
    net = nn.Linear(3, 2)
    assert probe.copy_of(net) is not None
    net.register_forward_hook(lambda *a: None)
    assert probe.copy_of(net) is None


def test_the_first_layer_that_is_not_finite() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 2)))
    x = torch.ones(2, 3)
    assert probe.first_not_finite(net, [x]) == ""
    with torch.no_grad():
        net[1][1].bias.fill_(float("nan"))
    assert probe.first_not_finite(net, [x]) == "1.1 (Linear)"
