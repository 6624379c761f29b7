"""Loaders that are used as they are, made to give the same batches again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from torchkiln.data import workers
from torchkiln.randomness import key

_PARTS = ("dataset", "sampler", "batch_sampler", "datasets")
"""Attributes under which loaders, samplers and data sets hold what they read from."""


class Replayed:
    """A person's loader whose random draws follow from the seed, the epoch and the batch.

    What the loader gives is the same in each life of a run as long as it depends on nothing else: the global
    generators of torch, numpy and Python, and generators that loader, samplers and data sets hold, are set at the
    start of each epoch; the global ones also before each batch. To begin at a batch, those before it are read and
    dropped.

    Args:
        loader: As the person made it.
        seed: The run's seed.
        split: Its name, so that two splits draw differently.
    """

    def __init__(self, loader: DataLoader[Any], seed: int, split: str) -> None:
        self.loader, self.seed, self.split = loader, seed, split
        self.epoch = 0
        self._start = (0, 0)

    @property
    def sampler(self) -> Replayed:
        """Itself: Lightning tells the epoch to a loader's sampler."""
        return self

    def __len__(self) -> int:
        return len(self.loader)  # TypeError where the loader has none

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch, and at a resume only after the first look at the loader."""
        self.epoch = epoch

    def start_at(self, epoch: int, batch: int) -> None:
        """Begin `epoch` at `batch`; other epochs begin at 0."""
        self.epoch = epoch
        self._start = (epoch, batch)

    def __iter__(self) -> Iterator[Any]:
        """The epoch's batches; nothing is read before the first is asked for."""
        epoch, (start_epoch, start) = self.epoch, self._start
        # A worker that lives through epochs draws on where the last one ended, which no later life can know.
        workers.restart(self.loader)
        self._begin(epoch)
        batches = iter(self.loader)
        number = 0
        while True:
            self._seed(epoch, number)
            try:
                batch = next(batches)
            except StopIteration:
                workers.restart(self.loader)
                return
            if epoch != start_epoch or number >= start:
                yield batch
            number += 1

    def _begin(self, epoch: int) -> None:
        """Set all generators, and tell the epoch to whoever asks for it."""
        self._seed(epoch)
        parts = _parts(self.loader)
        for name, part in parts:
            _seed_own(part, key(self.seed, "fetch", self.split, epoch, name))
        for _, part in parts:
            if callable(hook := getattr(part, "set_epoch", None)):
                hook(epoch)

    def _seed(self, *place: int) -> None:
        seed_globals(key(self.seed, "fetch", self.split, *place))


def seed_globals(value: int) -> None:
    """Set the generators that anyone may draw from: torch's of the CPU, numpy's, Python's."""
    torch.default_generator.manual_seed(value)
    np.random.seed(value & 0xFFFFFFFF)  # noqa: NPY002  # a person's code may draw from it
    random.seed(value)


def _parts(loader: Any) -> list[tuple[str, Any]]:
    """The loader and what it reads from, however nested, each with the path to it and once only."""
    found: list[tuple[str, Any]] = []
    waiting = [("loader", loader)]
    while waiting:
        name, part = waiting.pop(0)
        if any(part is known for _, known in found):
            continue
        found.append((name, part))
        held = {n: vars(part)[n] for n in _PARTS if n in getattr(part, "__dict__", {})}
        for field, inner in held.items():
            several = inner if isinstance(inner, list | tuple) else [inner]
            waiting += [(f"{name}.{field}.{i}", one) for i, one in enumerate(several) if hasattr(one, "__dict__")]
    return found


def _seed_own(part: Any, seed: int) -> None:
    """Set the generators that an object holds, each to numbers of its own."""
    for field, held in sorted(vars(part).items()):
        value = key(seed, field)
        if isinstance(held, torch.Generator):
            held.manual_seed(value)
        elif isinstance(held, np.random.Generator):
            held.bit_generator.state = type(held.bit_generator)(value).state
        elif isinstance(held, np.random.RandomState):
            held.seed(value & 0xFFFFFFFF)
        elif isinstance(held, random.Random):
            held.seed(value)
