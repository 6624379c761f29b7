"""Which samples make the batch of a step: a function of (seed, epoch), known without drawing the ones before.

One process or four see the same global batches. In training each takes its part of every batch; in
evaluation process r of w takes batches r, r + w, ... whole, so that what a batch is made of, and with it the last
bit of a prediction, does not depend on the number of processes.
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

    The last batch of an epoch may be shorter. Were it too short to give every process (or every shard) the two
    samples that batch normalisation needs, it is joined to the batch before.

    Args:
        n: Samples of the split.
        batch_size: Samples a process and step.
        seed: The run's seed.
        accumulate: Batches whose gradients are summed to one step.
        shard: This process. It takes positions rank, rank + world, ... of each batch.
        lengths: Length of each sample, int64 of shape [n]: batches are made of samples of like length.
        limit: Batches after which an epoch ends; None: when all samples were seen.
        shards: Into how many parts each batch is cut, whatever the number of processes, a multiple of it: part v is
            positions v, v + shards, ...; this process takes an equal share of the parts, one after the other.
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
        limit: int | None = None,
        shards: int | None = None,
    ) -> None:
        self.n, self.seed, self.accumulate, self.shard, self.lengths = n, seed, accumulate, shard, lengths
        self.epoch = 0
        self._start = (0, 0)
        self._cached: tuple[int, list[Indices]] | None = None
        self.shards = shards
        self._parts = shards or shard.world
        first = shard.rank * self._parts // shard.world
        self.mine = range(first, (shard.rank + 1) * self._parts // shard.world)
        """Numbers of the parts that this process computes."""
        self._all_bounds = _bounds(n, batch_size * shard.world, least=2 * self._parts)
        self._bounds = self._all_bounds[: None if limit is None else limit + 1]

    def __len__(self) -> int:
        return len(self._bounds) - 1

    @property
    def samples(self) -> int:
        """Samples of one epoch, on all processes together."""
        return self._bounds[-1]

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
            parts = [batch[part :: self._parts] for part in self.mine]
            yield BatchKey(epoch, batch if self._parts == 1 else np.concatenate(parts))

    def batches(self, epoch: int) -> list[Indices]:
        """The global batches of an epoch, in order."""
        if self._cached is None or self._cached[0] != epoch:
            order = permutation(self.seed, "order", epoch, self.n)
            if self.lengths is not None:
                order = self._by_length(order, epoch)
            pairs = zip(self._bounds[:-1], self._bounds[1:], strict=True)
            self._cached = epoch, [order[a:b] for a, b in pairs]
        return self._cached[1]

    def shard_sizes(self, batch: int) -> list[int]:
        """Samples in each of this process's parts of a batch, in order; 0 where an epoch has fewer than parts."""
        size = self._bounds[batch + 1] - self._bounds[batch]
        return [(size - part + self._parts - 1) // self._parts for part in self.mine]

    def scale(self, batch: int) -> float:
        """What the mean loss of this process's part of a batch is multiplied with.

        Then the gradient of a step is that of the mean over all its samples, however unequal its
        batches are: a short last batch, a last window of fewer batches (Lightning divides by the full
        window: its issue 19987), an uneven share for the processes.
        """
        if batch - batch % self.accumulate + self.accumulate < len(self) and self._parts == self.shard.world:
            return 1.0  # only the last window has batches that are not full
        return self.accumulate * self.shard.world * sum(self.shard_sizes(batch)) / self.in_window(batch)

    def in_window(self, batch: int) -> int:
        """Samples of the step that a batch is part of, on all processes together."""
        first = batch - batch % self.accumulate
        return self._bounds[min(first + self.accumulate, len(self))] - self._bounds[first]

    def _by_length(self, order: Indices, epoch: int) -> Indices:
        """Sort runs of some batches by length, then shuffle the batches; the last one stays last."""
        assert self.lengths is not None
        size = self._all_bounds[1]
        run = size * BUCKET_BATCHES
        runs = [order[i : i + run] for i in range(0, len(order), run)]
        sorted_order = np.concatenate([r[np.argsort(self.lengths[r], kind="stable")] for r in runs])
        # Only batches of the full size change places, so that the bounds stay as they are.
        whole = [sorted_order[i : i + size] for i in range(0, size * (len(self._all_bounds) - 2), size)]
        places = generator(self.seed, "buckets", epoch).permutation(len(whole))
        return np.concatenate([*(whole[i] for i in places), sorted_order[size * len(whole) :]])


class EvalOrder(Sampler[BatchKey]):
    """Every sample once, none twice, on however many processes; longest first where lengths differ.

    Args:
        n: Samples of the split.
        batch_size: Samples a batch, on whichever process.
        shard: This process; it sees whole batches, and none at all where there are fewer batches than processes.
        lengths: Length of each sample, int64 of shape [n].
        least: Batches that are made at least, as far as there are samples: as many as there may be processes.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        shard: Shard = Shard(),
        lengths: Indices | None = None,
        least: int = 1,
    ) -> None:
        everything = np.arange(n, dtype=np.int64) if lengths is None else np.argsort(-lengths, kind="stable")
        least = min(n, max(least, shard.world))
        if -(-n // batch_size) < least:
            batches = np.array_split(everything, least)
        else:
            batches = [everything[i : i + batch_size] for i in range(0, n, batch_size)]
        self._mine = batches[shard.rank :: shard.world]

    def __len__(self) -> int:
        return len(self._mine)

    def __iter__(self) -> Iterator[BatchKey]:
        return iter([BatchKey(0, batch) for batch in self._mine])


def _bounds(n: int, batch: int, least: int) -> list[int]:
    """Where batches begin, and the end; a rest below `least` joins the batch before."""
    bounds = [*range(0, n, batch), n]
    if len(bounds) > 2 and bounds[-1] - bounds[-2] < least:
        del bounds[-2]
    return bounds
