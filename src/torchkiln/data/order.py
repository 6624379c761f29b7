"""Which samples make the batch of a step: a function of (seed, epoch), known without drawing the ones before.

One process or four see the same global batches; process r of w takes positions r, r + w, ... of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from torchkiln.randomness import generator, permutation

Indices = npt.NDArray[np.int64]
BUCKET_BATCHES = 50
"""Batches that are sorted by length together: long enough to pad little, short enough to stay random."""


class BatchKey(NamedTuple):
    """What a loader is asked for: the epoch, and the samples."""

    epoch: int
    indices: Indices


@dataclass(frozen=True)
class Shard:
    """Which of how many processes."""

    rank: int = 0
    world: int = 1


class TrainOrder(Sampler[BatchKey]):
    """Shuffled batches, one epoch at a time.

    The last batch of an epoch may be shorter. Were it too short to give every process a sample, or a
    single sample in all (which batch normalisation cannot take), it is joined to the batch before.

    Args:
        n: Samples of the split.
        batch_size: Samples a process and step.
        seed: The run's seed.
        accumulate: Batches whose gradients are summed to one step.
        shard: This process.
        lengths: Length of each sample, int64 of shape [n]: batches are made of samples of like length.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        seed: int,
        accumulate: int = 1,
        shard: Shard = Shard(),
        lengths: Indices | None = None,
    ) -> None:
        self.n, self.seed, self.accumulate, self.shard, self.lengths = n, seed, accumulate, shard, lengths
        self.epoch = 0
        self._start = (0, 0)
        self._cached: tuple[int, list[Indices]] | None = None
        self._bounds = _bounds(n, batch_size * shard.world, least=max(2, shard.world))

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def start_at(self, epoch: int, batch: int) -> None:
        """Begin `epoch` at `batch`; other epochs begin at 0."""
        self.epoch = epoch
        self._start = (epoch, batch)

    def __iter__(self) -> Iterator[BatchKey]:
        epoch, (start_epoch, start) = self.epoch, self._start
        for batch in self.batches(epoch)[start if epoch == start_epoch else 0 :]:
            yield BatchKey(epoch, batch[self.shard.rank :: self.shard.world])

    def batches(self, epoch: int) -> list[Indices]:
        """The global batches of an epoch, in order."""
        if self._cached is None or self._cached[0] != epoch:
            order = permutation(self.seed, "order", epoch, self.n)
            if self.lengths is not None:
                order = self._by_length(order, epoch)
            pairs = zip(self._bounds[:-1], self._bounds[1:], strict=True)
            self._cached = epoch, [order[a:b] for a, b in pairs]
        return self._cached[1]

    def scale(self, batch: int) -> float:
        """What the mean loss of this process's part of a batch is multiplied with.

        Then the gradient of a step is that of the mean over all its samples, however unequal its
        batches are: a short last batch, a last window of fewer batches (Lightning divides by the full
        window: its issue 19987), an uneven share for the processes.
        """
        first = batch - batch % self.accumulate
        last = min(first + self.accumulate, len(self))
        in_window = self._bounds[last] - self._bounds[first]
        size = self._bounds[batch + 1] - self._bounds[batch]
        rank, world = self.shard.rank, self.shard.world
        mine = (size - rank + world - 1) // world
        return self.accumulate * world * mine / in_window

    def _by_length(self, order: Indices, epoch: int) -> Indices:
        """Sort runs of some batches by length, then shuffle the batches; the last one stays last."""
        assert self.lengths is not None
        size = self._bounds[1]
        run = size * BUCKET_BATCHES
        runs = [order[i : i + run] for i in range(0, len(order), run)]
        sorted_order = np.concatenate([r[np.argsort(self.lengths[r], kind="stable")] for r in runs])
        # Only batches of the full size change places, so that the bounds stay as they are.
        whole = [sorted_order[i : i + size] for i in range(0, size * (len(self) - 1), size)]
        places = generator(self.seed, "buckets", epoch).permutation(len(whole))
        return np.concatenate([*(whole[i] for i in places), sorted_order[size * len(whole) :]])


class EvalOrder(Sampler[BatchKey]):
    """Every sample once, none twice, on however many processes; longest first where lengths differ.

    Args:
        n: Samples of the split.
        batch_size: Samples a process and step.
        shard: This process; it sees samples rank, rank + world, ... and no padding.
        lengths: Length of each sample, int64 of shape [n].
    """

    def __init__(self, n: int, batch_size: int, *, shard: Shard = Shard(), lengths: Indices | None = None) -> None:
        everything = np.arange(n, dtype=np.int64) if lengths is None else np.argsort(-lengths, kind="stable")
        self._mine = everything[shard.rank :: shard.world]
        self._batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self._mine) // self._batch_size)

    def __iter__(self) -> Iterator[BatchKey]:
        for i in range(0, len(self._mine), self._batch_size):
            yield BatchKey(0, self._mine[i : i + self._batch_size])


def _bounds(n: int, batch: int, least: int) -> list[int]:
    """Where batches begin, and the end; a rest below `least` joins the batch before."""
    bounds = [*range(0, n, batch), n]
    if len(bounds) > 2 and bounds[-1] - bounds[-2] < least:
        del bounds[-2]
    return bounds
