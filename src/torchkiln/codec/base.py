"""One way from raw input to arrays, fitted on the training split, saved as data, needing no torch."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Ragged:
    """Sequences of different lengths, end to end.

    Args:
        values: All sequences behind one another, of shape [total, ...].
        offsets: Where each begins, and the end of the last, int64 of shape [n + 1].
        pad: What fills the shorter ones of a batch.
    """

    values: Array
    offsets: npt.NDArray[np.int64]
    pad: float | int = 0

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Length of each sequence, int64 of shape [n]."""
        return np.diff(self.offsets)

    def padded(self, indices: npt.NDArray[np.int64]) -> Array:
        """The sequences at `indices`, padded behind to the longest: [len(indices), longest, ...]."""
        starts, lengths = self.offsets[indices], self.lengths[indices]
        longest = int(max(lengths.max(initial=0), 1))
        inside = np.arange(longest)[None, :] < lengths[:, None]
        out = np.full((len(indices), longest, *self.values.shape[1:]), self.pad, self.values.dtype)
        out[inside] = self.values[(starts[:, None] + np.arange(longest)[None, :])[inside]]
        return out


Arrays = Mapping[str, "Array | Ragged"]
"""Named inputs of a net, each with one row a sample."""


@dataclass(frozen=True)
class Axis:
    """A dimension whose length is not the same for every batch; arrays that name the same one agree on it.

    Args:
        name: `batch`, `length` and the like.
        most: The longest that a net was made for; None: no limit is known.
    """

    name: str
    most: int | None = None


BATCH = Axis("batch")


@dataclass(frozen=True)
class ArraySpec:
    """The form of one array that a net takes.

    Args:
        name: Of the array.
        dtype: NumPy's name of it.
        shape: The batch first; a number where the length is fixed.
        below: What whole numbers stay under, from 0 on; None: they are no codes.
        pad: What fills the shorter ones of a batch.
    """

    name: str
    dtype: str
    shape: tuple[int | Axis, ...]
    below: int | None = None
    pad: int = 0


class InputCodec(ABC):
    """Raw columns to the arrays a net takes.

    Required: `kind`, `encode`, `specs`, `state`, `from_state`. Optional: `save_files` for what is no JSON.
    Each codec has its own `fit(train: pl.DataFrame, ...)` classmethod; tasks call it.
    """

    kind: ClassVar[str]
    """Stable name in codec.json: `table`, `image`, `ngrams`, `tokens`."""

    @abstractmethod
    def encode(self, frame: pl.DataFrame) -> Arrays:
        """Arrays for the frame's rows, the same for a row alone as among a million.

        Raises:
            DataError: A column is missing or a value cannot be read; names column and row.
        """

    @abstractmethod
    def specs(self) -> list[ArraySpec]:
        """The form of the arrays that `encode` gives, in the order in which a net takes them."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What was fitted, as JSON-ready data."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: dict[str, Any], folder: Path) -> InputCodec:
        """The codec that `state` describes; `folder` holds the files of `save_files`."""

    def save_files(self, folder: Path) -> None:
        """Write files that belong to the state, such as `tokenizer.json`; none by default."""


class TargetCodec(ABC):
    """A column of labels or numbers to what the loss takes, and outputs back to the person's words."""

    kind: ClassVar[str]
    column: str

    @abstractmethod
    def encode(self, values: pl.Series) -> Array:
        """int64 class indices or float32 numbers, of shape [n]; every value is known and present."""

    @abstractmethod
    def decode(self, prediction: Array) -> pl.DataFrame:
        """Columns for a table of predictions.

        Args:
            prediction: As `Task.predict` gives it: probabilities [n, classes], or numbers [n] in the
                target's own unit.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What was fitted, as JSON-ready data."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: dict[str, Any]) -> TargetCodec:
        """The codec that `state` describes."""


@dataclass(frozen=True)
class Codec:
    """Inputs and target of one trained model: the content of codec.json."""

    inputs: InputCodec
    target: TargetCodec

    def state(self, folder: Path) -> dict[str, Any]:
        """JSON-ready data; files that belong to it are written into `folder`."""
        self.inputs.save_files(folder)
        return {
            "format": 1,
            "inputs": {"kind": self.inputs.kind, **self.inputs.state()},
            "target": {"kind": self.target.kind, **self.target.state()},
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], folder: Path) -> Codec:
        """The codec saved by `state`."""
        inputs, target = dict(state["inputs"]), dict(state["target"])
        input_class = _load(_INPUTS[inputs.pop("kind")])
        target_class = _load(_TARGETS[target.pop("kind")])
        return cls(input_class.from_state(inputs, folder), target_class.from_state(target))


_INPUTS = {
    "table": "torchkiln.codec.table.TableCodec",
    "image": "torchkiln.codec.image.ImageCodec",
    "ngrams": "torchkiln.codec.text.NgramCodec",
    "tokens": "torchkiln.codec.text.TokenCodec",
}
_TARGETS = {
    "labels": "torchkiln.codec.target.Labels",
    "number": "torchkiln.codec.target.Number",
}


def _load(class_path: str) -> Any:
    module, _, name = class_path.rpartition(".")
    return getattr(importlib.import_module(module), name)
