"""Shards of a batch add up to the batch; tests/resume has the same bits on several processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from torchkiln import Run
from torchkiln.data.order import Shard, TrainOrder
from torchkiln.errors import RecipeError
from torchkiln.training.elastic import Shards

Fit = Callable[..., Run]


def order(world: int = 1, rank: int = 0, accumulate: int = 1) -> TrainOrder:
    return TrainOrder(22, 8 // world, seed=0, accumulate=accumulate, shard=Shard(rank, world), shards=4)


def test_processes_share_the_shards_out() -> None:
    assert list(order().mine) == [0, 1, 2, 3]
    assert list(order(2, 1).mine) == [2, 3]
    assert list(order(4, 2).mine) == [2]


def test_weights_are_shares_of_the_samples_of_a_step_on_any_number_of_processes() -> None:
    for accumulate in (1, 2):
        shards = Shards(order(accumulate=accumulate), 0, 4)
        window = [batch for batch in range(len(shards.order)) if batch < accumulate]
        total = 0.0
        for number in window:
            size = sum(shards.order.shard_sizes(number))
            batch = {"index": torch.arange(size)}
            total += sum(shards.weight(part, number) for part in shards.of(batch, number))
        assert total / accumulate == pytest.approx(1.0)
    alone, third = Shards(order(), 0, 4), Shards(order(4, 2), 0, 4)
    mine = {"index": torch.arange(sum(third.order.shard_sizes(0)))}
    whole = {"index": torch.arange(8)}
    assert third.weight(third.of(mine, 0)[0], 0) == alone.weight(alone.of(whole, 0)[2], 0)


def test_gradients_of_shards_add_up_and_buffers_are_their_mean() -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), torch.randn(8, 2)
    shards = Shards(order(), 0, 4)
    wanted, means = torch.zeros_like(net[0].weight), []
    for part in x.split(2):
        net.zero_grad()
        net[1].reset_running_stats()
        net(part).square().sum().backward()
        wanted += net[0].weight.grad
        means.append(net[1].running_mean.clone())
    net.zero_grad()
    net[1].reset_running_stats()
    net[0].weight.grad = torch.ones_like(wanted)  # of the batch before in the window
    for number, part in enumerate(x.split(2)):
        shards.begin(net, 0, 0, number)
        loss = net(part).square().sum()
        if number == 0:
            shards.set_aside(net)
        loss.backward()
        shards.take(net)
    shards.add_up(net)
    torch.testing.assert_close(net[0].weight.grad, wanted + 1)
    torch.testing.assert_close(net[1].running_mean, torch.stack(means).mean(0))


def test_an_elastic_run_trains_as_a_usual_one_does(fit: Fit) -> None:
    def net() -> nn.Module:
        torch.manual_seed(3)
        return nn.Linear(4, 2)

    usual = fit("usual", model=net(), train__accumulate=2)
    elastic = fit("elastic", model=net(), train__accumulate=2, train__exact="elastic")
    for a, b in zip(usual.directory.rows("metrics"), elastic.directory.rows("metrics"), strict=True):
        np.testing.assert_allclose(float(a["train_loss"]), float(b["train_loss"]), rtol=1e-5)
        np.testing.assert_allclose(float(a["val_loss"]), float(b["val_loss"]), rtol=1e-5)


def test_more_shards_than_samples_are_refused(fit: Fit, datasets: Any) -> None:
    with pytest.raises(RecipeError, match="there are only 45 training samples"):
        fit(train__exact="elastic", train__shards=64)


def test_buffers_that_no_shard_changes_stay_to_the_bit() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 300), nn.BatchNorm1d(300)).eval()
    net[1].running_mean.uniform_()
    before, shards = net[1].running_mean.clone(), Shards(order(), 0, 8)
    shards.begin(net, 0, 0, 0)
    shards.set_aside(net)
    for _ in range(8):
        net(torch.randn(4, 2)).sum().backward()
        shards.take(net)
    shards.add_up(net)
    assert torch.equal(net[1].running_mean, before)
