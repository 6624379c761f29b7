"""The same bits on one, two or four processes: gradients of a fixed number of shards, added in a fixed order.

A global batch is cut into V shards, whoever computes them. Each shard has its own random numbers and starts
from the same buffers. All gradients are gathered, and every process adds them up from shard 0 to V - 1, so
that the sum is the same on any number of processes that divides V.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

from torchkiln.data.order import TrainOrder
from torchkiln.data.store import Batch
from torchkiln.training import parts
from torchkiln.training.seeding import seed_all


class Shards:
    """This process's share of each batch.

    Args:
        order: Cut into shards.
        seed: The run's seed.
        count: Of all shards.
    """

    def __init__(self, order: TrainOrder, seed: int, count: int) -> None:
        self.order, self.seed, self.count = order, seed, count
        self._before: list[Tensor] = []
        self._buffers: list[Tensor] = []
        self._after: list[Tensor] = []
        self._gradients: list[Tensor] = []

    def of(self, batch: Batch, batch_idx: int) -> list[Batch]:
        """The batch of this process as its shards."""
        return parts.split(batch, self.order.shard_sizes(batch_idx))

    def weight(self, part: Batch, batch_idx: int) -> float:
        """What the mean loss of a shard is multiplied with: its part of the samples of the step."""
        return self.order.accumulate * len(part["index"]) / self.order.in_window(batch_idx)

    def begin(self, net: nn.Module, epoch: int, batch_idx: int, number: int) -> None:
        """Before a shard's forward: its random numbers, and the buffers as before the batch.

        Args:
            number: Place of the shard among those of this process.
        """
        if number == 0:
            self._buffers = [b.clone() for b in net.buffers()]
            self._after, self._gradients = [], []
        else:
            for buffer, before in zip(net.buffers(), self._buffers, strict=True):
                buffer.copy_(before)
        seed_all(self.seed, "step", epoch, batch_idx, self.order.mine[number])

    def set_aside(self, net: nn.Module) -> None:
        """Before the batch's first backward: the gradients of the batches before in the window."""
        trained = _trained(net)
        self._before = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        for p in trained:
            p.grad = None

    def take(self, net: nn.Module) -> None:
        """Behind a shard's backward: its gradients and buffers."""
        trained = _trained(net)
        self._gradients.append(parts.flat([p.grad for p in trained], trained))
        floating = list(_floating(net))
        self._after.append(parts.flat(floating, floating) if floating else torch.zeros(1))
        for p in trained:
            p.grad = None

    def add_up(self, net: nn.Module) -> None:
        """Behind the last backward: every process has the gradients and buffers of all shards."""
        trained, floating = _trained(net), list(_floating(net))
        total = _in_order(self.gather(torch.stack(self._gradients)))
        for p, before, gradient in zip(trained, self._before, parts.unflat(total, trained), strict=True):
            p.grad = before.add_(gradient)
        after = self.gather(torch.stack(self._after))
        # a constant, or what is frozen, must not drift by the rounding of its own mean
        mean = torch.where((after == after[0]).all(dim=0), after[0], _in_order(after) / self.count)
        for buffer, value in zip(floating, parts.unflat(mean, floating) if floating else [], strict=True):
            buffer.copy_(value)

    def gather(self, mine: Tensor) -> Tensor:
        """Rows of all shards, in order; `mine` holds those of this process."""
        world = self.order.shard.world
        if world == 1:
            return mine
        found = [torch.empty_like(mine) for _ in range(world)]
        dist.all_gather(found, mine.contiguous())
        return torch.cat(found)


def _in_order(rows: Tensor) -> Tensor:
    """The sum of the rows, from the first to the last."""
    total = rows[0].clone()
    for row in rows[1:]:
        total += row
    return total


def _trained(net: nn.Module) -> list[nn.Parameter]:
    return [p for p in net.parameters() if p.requires_grad]


def _floating(net: nn.Module) -> Iterator[Tensor]:
    return (b for b in net.buffers() if b.is_floating_point())
