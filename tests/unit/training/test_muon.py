"""Muon's steps: orthogonal for matrices, AdamW's for all else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torchkiln.training.muon import Muon, is_matrix, orthogonal


@pytest.mark.parametrize("shape", [(32, 288), (288, 32), (64, 64)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    low_rank = torch.randn(shape) + 5 * torch.randn(shape[0], 1) @ torch.randn(1, shape[1])
    before, after = (torch.linalg.svdvals(m) for m in (low_rank, orthogonal(low_rank, 5)))
    assert before[0] / before[-5] > 10
    assert float(after.max()) < 1.3
    assert float(after[:-5].min()) > 0.3


def test_a_filter_keeps_its_length_and_moves_by_the_rate() -> None:
    torch.manual_seed(0)
    filters = nn.Parameter(torch.randn(64, 32, 3, 3))
    filters.grad = torch.randn_like(filters)
    Muon([filters], lr=0.0).step()
    assert torch.allclose(filters.norm(), torch.tensor(8.0), atol=1e-3)
    before = filters.detach().clone()
    Muon([filters], lr=0.1).step()
    moved = (filters.detach() - before).norm() / before.norm()
    assert 0.04 < float(moved) < 0.13


def test_what_is_no_large_matrix_is_stepped_as_adamw_does() -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Linear(40, 3) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    first = Muon(ours.parameters(), lr=0.01, weight_decay=0.1, betas=(0.9, 0.99))
    second = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1, betas=(0.9, 0.99))
    for i in range(4):
        for net, optimizer in ((ours, first), (theirs, second)):
            optimizer.zero_grad()
            net(torch.full((2, 40), i + 1.0)).square().sum().backward()
            optimizer.step()
    assert torch.allclose(ours.weight, theirs.weight, atol=1e-6)
    assert torch.allclose(ours.bias, theirs.bias, atol=1e-6)


def test_groups_have_rates_of_their_own_and_a_closure_is_called() -> None:
    net = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 2))
    optimizer = Muon([{"params": net[0].parameters(), "lr": 0.0}, {"params": net[1].parameters()}], lr=0.01)
    before = net[0].bias.detach().clone(), net[1].weight.detach().clone()

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = net(torch.ones(4, 64)).square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) is not None
    assert torch.equal(net[0].bias, before[0])
    assert not torch.equal(net[1].weight, before[1])


def test_the_state_goes_on_bit_for_bit() -> None:
    def run(stop: int | None) -> nn.Module:
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(40, 40), nn.Linear(40, 2))
        optimizer = Muon(net.parameters(), lr=0.05)
        for i in range(6):
            if i == stop:
                state = optimizer.state_dict()
                optimizer = Muon(net.parameters(), lr=0.05)
                optimizer.load_state_dict(state)
            optimizer.zero_grad()
            net(torch.full((2, 40), float(i))).square().sum().backward()
            optimizer.step()
        return net

    whole, resumed = run(None), run(3)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_which_parameters_are_matrices() -> None:
    shapes = {(64, 3, 3, 3): False, (64, 32, 1, 1): True, (10, 256): False, (100, 256): True, (64,): False}
    assert {s: is_matrix(torch.zeros(s)) for s in shapes} == shapes
