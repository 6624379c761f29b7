"""Where encoded samples live, and batches taken from there by index."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from torchkiln.codec.base import Array, Arrays, InputCodec, Ragged

Indices = npt.NDArray[np.int64]
Batch = dict[str, Any]
"""Inputs by name, each a tensor [batch, ...]; `target` [batch]; `index` int64 [batch]."""


class Store(ABC):
    """The samples of one split.

    Required: `__len__`, `take`. Optional: `lengths`, for batches of samples of like length; `start_method`.
    """

    start_method: ClassVar[str | None] = None
    """How worker processes that hold the store must be started; None: as the platform does."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def take(self, indices: Indices, epoch: int) -> Any:
        """The batch of these samples; `epoch` matters only where reading itself is random."""

    @property
    def lengths(self) -> npt.NDArray[np.int64] | None:
        """Length of each sample where they differ, int64 of shape [n]."""
        return None


class ArrayStore(Store):
    """Samples as arrays, in memory or memory-mapped.

    Args:
        inputs: What the codec made, rows in the order of the split.
        target: int64 or float32 of shape [n], or None where there are no labels.
    """

    def __init__(self, inputs: Arrays, target: Array | None) -> None:
        self.inputs, self.target = inputs, target
        self._length = len(next(iter(inputs.values())))

    def __len__(self) -> int:
        return self._length

    def take(self, indices: Indices, epoch: int) -> Batch:
        return _batch({name: _rows(a, indices) for name, a in self.inputs.items()}, self.target, indices)

    @property
    def lengths(self) -> npt.NDArray[np.int64] | None:
        ragged = [a for a in self.inputs.values() if isinstance(a, Ragged)]
        return ragged[0].lengths if ragged else None


class StreamStore(Store):
    """Samples encoded anew each time they are asked for, by whichever worker is asked.

    Args:
        codec: Makes the arrays.
        frame: Raw rows, in the order of the split.
        target: As for `ArrayStore`.
    """

    start_method = "spawn"  # the threads of polars do not survive a fork: a forked worker would wait for ever

    def __init__(self, codec: InputCodec, frame: pl.DataFrame, target: Array | None) -> None:
        self.codec, self.frame, self.target = codec, frame, target

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, indices: Indices, epoch: int) -> Batch:
        encoded = self.codec.encode(self.frame[indices])
        everything = np.arange(len(indices))
        return _batch({name: _rows(a, everything) for name, a in encoded.items()}, self.target, indices)


class DatasetStore(Store):
    """A person's map-style dataset; each sample is read under generators of its own.

    Args:
        dataset: Has `__len__` and `__getitem__`.
        collate: Joins samples to a batch.
        seed_sample: Called with (epoch, index) before each sample.
    """

    def __init__(
        self,
        dataset: Any,
        collate: Callable[[Sequence[Any]], Any],
        seed_sample: Callable[[int, int], None],
    ) -> None:
        self.dataset, self.collate, self.seed_sample = dataset, collate, seed_sample

    def __len__(self) -> int:
        return len(self.dataset)

    def take(self, indices: Indices, epoch: int) -> Any:
        samples = []
        for index in indices.tolist():
            self.seed_sample(epoch, index)
            samples.append(self.dataset[index])
        return self.collate(samples)


def _rows(array: Array | Ragged, indices: Indices) -> Array:
    return array.padded(indices) if isinstance(array, Ragged) else array[indices]


def _batch(inputs: dict[str, Array], target: Array | None, indices: Indices) -> Batch:
    batch: Batch = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in inputs.items()}
    if target is not None:
        batch["target"] = torch.from_numpy(target[indices])
    batch["index"] = torch.from_numpy(indices)
    return batch
