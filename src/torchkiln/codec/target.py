"""Targets: class labels and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl

from torchkiln.codec.base import Array, TargetCodec
from torchkiln.errors import DataError
from torchkiln.registry import did_you_mean


@dataclass(frozen=True)
class Labels(TargetCodec):
    """Classes by name, in sorted order.

    Args:
        column: The target's column.
        classes: Names, sorted; the index in this list is the class.
    """

    kind: ClassVar[str] = "labels"
    column: str
    classes: list[str]

    @classmethod
    def fit(cls, values: pl.Series) -> Labels:
        """Classes met in the training split.

        Raises:
            DataError: There are fewer than two.
        """
        names = label_names(values)
        classes = sorted(names.drop_nulls().unique().to_list(), key=_natural)
        if len(classes) < 2:
            found = f"only the class {classes[0]!r}" if classes else "no label"
            raise DataError(f"target {values.name!r} holds {found} in the training split; two are needed")
        return cls(values.name, classes)

    def encode(self, values: pl.Series) -> Array:
        """int64 class indices of shape [n].

        Raises:
            DataError: A label was never seen in training.
        """
        names = label_names(values)
        unknown = sorted(set(names.drop_nulls().unique().to_list()) - set(self.classes))
        if unknown:
            hint = did_you_mean(unknown[0], self.classes)
            raise DataError(f"target {self.column!r}: training never saw the class {unknown[0]!r}{hint}")
        if names.null_count():
            raise DataError(f"target {self.column!r}: {names.null_count()} rows have no label")
        index = {name: i for i, name in enumerate(self.classes)}
        return names.replace_strict(index, return_dtype=pl.Int64).to_numpy()

    def decode(self, prediction: Array) -> pl.DataFrame:
        """`prediction`, `confidence` and one `p_CLASS` a class, from probabilities [n, classes]."""
        best = prediction.argmax(axis=1)
        columns: dict[str, Any] = {
            "prediction": [self.classes[i] for i in best],
            "confidence": prediction[np.arange(len(best)), best],
        }
        columns |= {f"p_{name}": prediction[:, i] for i, name in enumerate(self.classes)}
        return pl.DataFrame(columns)

    def state(self) -> dict[str, Any]:
        return {"column": self.column, "classes": self.classes}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Labels:
        return cls(state["column"], state["classes"])


@dataclass(frozen=True)
class Number(TargetCodec):
    """A number, standardised for the loss.

    Args:
        column: The target's column.
        mean, scale: Of the training split; a net's output o means `o * scale + mean`.
        low, high: Range of the training split; predictions are clipped to it.
    """

    kind: ClassVar[str] = "number"
    column: str
    mean: float
    scale: float
    low: float
    high: float

    @classmethod
    def fit(cls, values: pl.Series) -> Number:
        """Mean, deviation and range of the training split.

        Raises:
            DataError: The column is no number or is constant.
        """
        x = _numbers(values)
        if float(x.std()) == 0.0:
            raise DataError(f"target {values.name!r} is {x[0]:g} in every training row; nothing to learn")
        return cls(values.name, float(x.mean()), float(x.std()), float(x.min()), float(x.max()))

    def encode(self, values: pl.Series) -> Array:
        """float32 of shape [n], in the target's own unit."""
        return _numbers(values).astype(np.float32)

    def decode(self, prediction: Array) -> pl.DataFrame:
        """`prediction`, from numbers [n] in the target's own unit."""
        return pl.DataFrame({"prediction": prediction})

    def state(self) -> dict[str, Any]:
        names = ("column", "mean", "scale", "low", "high")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Number:
        return cls(**state)


def label_names(values: pl.Series) -> pl.Series:
    """Labels as strings, the same for `1`, `1.0` and `"1"`; missing ones stay null."""
    if values.dtype.is_float():
        whole = values.drop_nulls().drop_nans()
        if (whole == whole.round()).all():
            values = values.fill_nan(None).cast(pl.Int64)
    if values.dtype == pl.Boolean:
        return values.cast(pl.String)
    return values.cast(pl.String).replace("", None)


def _numbers(values: pl.Series) -> Array:
    try:
        x = values.cast(pl.Float64).to_numpy()
    except pl.exceptions.PolarsError:
        bad = values.filter(values.cast(pl.Float64, strict=False).is_null() & values.is_not_null())
        raise DataError(f"target {values.name!r} holds {bad[0]!r}, which is no number") from None
    if not np.isfinite(x).all():
        raise DataError(f"target {values.name!r} has {int((~np.isfinite(x)).sum())} values that are no finite number")
    return x


def _natural(name: str) -> tuple[int, float, str]:
    """Numbers by size before words by letter, so that class 10 comes behind class 9."""
    try:
        return (0, float(name), name)
    except ValueError:
        return (1, 0.0, name)
