"""Where encoded samples live, and batches taken from there by index."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from torchkiln.codec.base import Array, Arrays, InputCodec, Ragged
from torchkiln.errors import DataError

Indices = npt.NDArray[np.int64]
Batch = dict[str, Any]
"""Inputs by name, each a tensor [batch, ...]; `target` [batch]; `index` int64 [batch]."""


NOT_THE_SAMPLE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors of the system that meet whichever sample is next."""


class Unreadable(DataError):
    """Samples of a batch that cannot be read, though the data was checked before.

    Args:
        text: What is wrong with the first of them. Loaders make an error of a worker anew, from a text with the
            worker's traceback around it; that is taken off again, and stays as a note.
        indices: Which they are.
    """

    def __init__(self, text: str, indices: Sequence[int] = ()) -> None:
        self.indices = list(indices)
        if "\nOriginal Traceback" in text:
            self.add_note(text)
            text = text.rstrip().rpartition(f"{Unreadable.__qualname__}: ")[2]
        super().__init__(" ".join(text.split()))


class Store(ABC):
    """The samples of one split.

    Required: `__len__`, `take`. Optional: `lengths`, for batches of samples of like length; `start_method`,
    `in_processes`.
    """

    start_method: ClassVar[str | None] = None
    """How worker processes that hold the store must be started; None: as the platform does."""
    in_processes: ClassVar[bool] = True
    """Whether worker processes can read it too."""
    left_out: frozenset[tuple[int, int]] = frozenset()
    """(epoch, index) of samples that a training loader passes by without reading them."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def take(self, indices: Indices, epoch: int) -> Any:
        """The batch of these samples; `epoch` matters only where reading itself is random.

        Raises:
            Unreadable: Some of them cannot be read; it names them all.
        """

    def leave_out(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Pass by these (epoch, index) too; workers that run already do not learn of it."""
        self.left_out = self.left_out | frozenset(pairs)

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

    @property
    def nbytes(self) -> int:
        """Bytes of the inputs."""
        return sum((a.values if isinstance(a, Ragged) else a).nbytes for a in self.inputs.values())

    def take(self, indices: Indices, epoch: int) -> Batch:
        return _batch({name: _rows(a, indices) for name, a in self.inputs.items()}, self.target, indices)

    @property
    def lengths(self) -> npt.NDArray[np.int64] | None:
        ragged = [a for a in self.inputs.values() if isinstance(a, Ragged)]
        return ragged[0].lengths if ragged else None


class DeviceStore(Store):
    """Samples as tensors on the device that trains: a batch is picked there, and only its indices are copied.

    Args:
        inputs, target: As for `ArrayStore`.
        device: As torch names it.
    """

    in_processes = False

    def __init__(self, inputs: Arrays, target: Array | None, device: str) -> None:
        self.device = torch.device(device)
        self._lengths = next((a.lengths for a in inputs.values() if isinstance(a, Ragged)), None)
        self._length = len(next(iter(inputs.values())))
        self.inputs = {name: _Resident(a, self.device) for name, a in inputs.items()}
        self.target = None if target is None else _Resident(target, self.device)

    def __len__(self) -> int:
        return self._length

    def take(self, indices: Indices, epoch: int) -> Batch:
        here = torch.from_numpy(indices)
        there = here.to(self.device, non_blocking=True)
        batch: Batch = {name: one.rows(indices, there) for name, one in self.inputs.items()}
        if self.target is not None:
            batch["target"] = self.target.rows(indices, there)
        return {**batch, "index": here}

    @property
    def lengths(self) -> npt.NDArray[np.int64] | None:
        return self._lengths


class _Resident:
    """One array on a device; what is needed of a ragged one to say how long a batch is stays in memory too."""

    def __init__(self, array: Array | Ragged, device: torch.device) -> None:
        self.ragged = isinstance(array, Ragged)
        self.values = torch.from_numpy(np.array(array.values if isinstance(array, Ragged) else array)).to(device)
        if isinstance(array, Ragged):
            self.lengths, self.pad = array.lengths, array.pad
            self.starts = torch.from_numpy(array.offsets[:-1]).to(device)
            self.counts = torch.from_numpy(self.lengths).to(device)

    def rows(self, indices: Indices, there: torch.Tensor) -> torch.Tensor:
        """The rows, padded where they differ in length; `there` are the indices on the device."""
        if not self.ragged:
            return self.values[there]
        longest = max(1, int(self.lengths[indices].max(initial=0)))
        behind = torch.arange(longest, device=there.device)
        inside = behind < self.counts[there][:, None]
        places = torch.where(inside, self.starts[there][:, None] + behind, 0)
        shape = (*inside.shape, *[1] * (self.values.ndim - 1))
        return torch.where(inside.view(shape), self.values[places], self.pad)


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
        try:
            encoded = self.codec.encode(self.frame[indices])
        except Exception as error:
            if which := self._which(indices):
                raise which from error
            raise
        everything = np.arange(len(indices))
        return _batch({name: _rows(a, everything) for name, a in encoded.items()}, self.target, indices)

    def _which(self, indices: Indices) -> Unreadable | None:
        """The rows that cannot be encoded, found by reading each alone."""
        found: dict[int, Exception] = {}
        for index in indices.tolist():
            try:
                self.codec.encode(self.frame[[index]])
            except Exception as error:  # whatever a codec makes of a damaged file
                found[index] = error
        return _unreadable(found, {i: str(e) for i, e in found.items()}, len(indices))


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
        failed: dict[int, Exception] = {}
        for index in indices.tolist():
            self.seed_sample(epoch, index)
            try:
                samples.append(self.dataset[index])
            except Exception as error:  # a person's code may raise anything
                failed[index] = error
        texts = {i: f"sample {i} cannot be read: {type(e).__name__}: {e}" for i, e in failed.items()}
        if which := _unreadable(failed, texts, len(indices)):
            raise which from failed[which.indices[0]]
        return self.collate(samples)


def _unreadable(failed: Mapping[int, Exception], texts: Mapping[int, str], among: int) -> Unreadable | None:
    """One error for all samples of a batch that failed; what is not their fault is raised as it is."""
    for error in failed.values():
        if _is_of_the_system(error):
            raise error
    if not failed:
        return None
    more = f" ({len(failed) - 1} more of the {among} samples of its batch fail too)" if len(failed) > 1 else ""
    return Unreadable(next(iter(texts.values())) + more, list(failed))


def _is_of_the_system(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in NOT_THE_SAMPLE):
        return True
    return error.__cause__ is not None and _is_of_the_system(error.__cause__)


def _rows(array: Array | Ragged, indices: Indices) -> Array:
    return array.padded(indices) if isinstance(array, Ragged) else array[indices]


def _batch(inputs: dict[str, Array], target: Array | None, indices: Indices) -> Batch:
    batch: Batch = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in inputs.items()}
    if target is not None:
        batch["target"] = torch.from_numpy(target[indices])
    batch["index"] = torch.from_numpy(indices)
    return batch
