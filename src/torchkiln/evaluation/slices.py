"""Parts of the test rows on which the net does worst.

Many parts are looked at, and the worst of many looks bad by chance alone; so each interval is widened by
the number of parts (Bonferroni): with 95 % all of them hold together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from torchkiln.codec.base import InputCodec, TargetCodec
from torchkiln.codec.image import ImageCodec, picture_size
from torchkiln.codec.table import (
    CategoryField,
    DateField,
    Field,
    NumberField,
    TableCodec,
    read_dates,
    read_names,
    read_numbers,
)
from torchkiln.codec.target import Labels
from torchkiln.errors import DataError
from torchkiln.tasks._base import Array

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]
MOST = 30
_FEWEST_ROWS, _LARGEST_SHARE = 20, 0.7
_MOST_VALUES = 100
"""Of a column; one with more is a name of rows rather than of groups."""
_MOST_PICTURES = 20_000


@dataclass(frozen=True)
class Slice:
    """Some of the rows, by what they have in common.

    Args:
        column: The column, or `class`, `words`, `shorter side`.
        value: What the rows hold there.
        rows: Which they are, bool [n].
    """

    column: str
    value: str
    rows: Rows


def worst(
    frame: pl.DataFrame,
    target: Array,
    prediction: Array,
    inputs: InputCodec | None,
    codec: TargetCodec,
    text: str | None,
    primary: str,
) -> tuple[list[dict[str, Any]], str]:
    """Up to 30 slices and a sentence on how to read them; ([], "") where there are none of enough rows.

    Tables are parted by each column the net uses (every name; numbers and dates by quartile; missing or
    not), pictures and texts by class and by size or length.

    Args:
        frame: Raw rows.
        target, prediction: As the task gives them, all finite.
        text: The column of texts, if that is what the data is.
        primary: The task's first metric; slices are scored by it if it is a mean over rows, else by
            accuracy or RMSE.

    Returns:
        Dicts of `column`, `value`, `n`, `score`, `low`, `high` and `metric`, in the order of the
        interval's better end, so that few rows do not come first by luck.
    """
    metric, per_row = _per_row(target, prediction, primary)
    fewest = max(_FEWEST_ROWS, len(frame) // 200)
    found = [
        s
        for s in _slices(frame, target, inputs, codec, text)
        if fewest <= int(s.rows.sum()) <= _LARGEST_SHARE * len(frame)
    ]
    if not found:
        return [], ""
    z = NormalDist().inv_cdf(1.0 - 0.025 / len(found))
    scored = [_scored(s, per_row[s.rows], metric, z) for s in found]
    better_end = (lambda s: s["high"]) if metric == "accuracy" else (lambda s: -s["low"])
    scored.sort(key=better_end)
    note = (
        f"{len(found)} slices of at least {fewest} rows were looked at; their intervals of {metric} are wide "
        "enough that with 95 % all of them hold together."
    )
    return scored[:MOST], note


def _per_row(target: Array, prediction: Array, primary: str) -> tuple[str, Floats]:
    """The metric's name, and of each row what its mean is taken of."""
    if prediction.ndim == 2:
        return "accuracy", (prediction.argmax(axis=1) == target).astype(np.float64)
    error = np.abs(prediction.astype(np.float64) - target.astype(np.float64))
    return ("mae", error) if primary == "mae" else ("rmse", error**2)


def _scored(one: Slice, per_row: Floats, metric: str, z: float) -> dict[str, Any]:
    n, mean = len(per_row), float(per_row.mean())
    if metric == "accuracy":
        low, high = _wilson(mean, n, z)
    else:
        # The logarithm of a mean of errors is nearer to normal than the mean, and stays above 0.
        spread = float(per_row.std(ddof=1)) / math.sqrt(n) / mean if mean else 0.0
        low, high = mean * math.exp(-z * spread), mean * math.exp(z * spread)
    if metric == "rmse":
        mean, low, high = math.sqrt(mean), math.sqrt(low), math.sqrt(high)
    return {
        "column": one.column,
        "value": one.value,
        "n": n,
        "score": mean,
        "low": low,
        "high": high,
        "metric": metric,
    }


def _wilson(share: float, n: int, z: float) -> tuple[float, float]:
    """Interval of a share of `n` rows.

    References:
        Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def _slices(
    frame: pl.DataFrame, target: Array, inputs: InputCodec | None, codec: TargetCodec, text: str | None
) -> Iterator[Slice]:
    if isinstance(inputs, TableCodec):
        for one in inputs.fields:
            yield from _of_field(one, frame)
        return
    if isinstance(codec, Labels):
        for index, name in enumerate(codec.classes):
            yield Slice("class", name, target == index)
    if text is not None:
        words = frame[text].cast(pl.String).str.count_matches(r"\S+").fill_null(0)
        yield from _quartiles("words", words.to_numpy().astype(np.float64))
    if isinstance(inputs, ImageCodec) and len(frame) <= _MOST_PICTURES:
        yield from _quartiles("shorter side", _sides(inputs, frame))


def _of_field(one: Field, frame: pl.DataFrame) -> Iterator[Slice]:
    values = frame[one.column]
    if isinstance(one, NumberField):
        numbers = read_numbers(values, one.words)[0]
        yield from _quartiles(one.column, numbers)
        yield from _missing(one.column, np.isnan(numbers))
    elif isinstance(one, DateField):
        dates = read_dates(values, one.formats)[0]
        seconds = dates.dt.epoch("s").cast(pl.Float64).fill_null(np.nan).to_numpy()
        yield from _quartiles(one.column, seconds, _day)
        yield from _missing(one.column, dates.is_null().to_numpy())
    else:
        names = read_names(values)
        missing = names.is_null().to_numpy()
        if isinstance(one, CategoryField) and names.n_unique() <= _MOST_VALUES:
            for name in names.drop_nulls().unique().sort():
                yield Slice(one.column, str(name), (names == name).fill_null(False).to_numpy())
        yield from _missing(one.column, missing)


def _missing(column: str, missing: Rows) -> Iterator[Slice]:
    if missing.any():
        yield Slice(column, "missing", missing)
        yield Slice(column, "not missing", ~missing)


def _number(value: float) -> str:
    return f"{value:,.6g}"


def _day(seconds: float) -> str:
    return str(datetime.fromtimestamp(seconds, UTC).date())


def _quartiles(column: str, numbers: Floats, say: Callable[[float], str] = _number) -> Iterator[Slice]:
    """Quarters of the rows that have a number, or each number where there are at most four."""
    known = numbers[np.isfinite(numbers)]
    if len(known) == 0:
        return
    values = np.unique(known)
    edges = values if len(values) <= 4 else np.unique(np.quantile(known, [0.25, 0.5, 0.75, 1.0], method="lower"))
    part = np.searchsorted(edges, numbers, side="left")
    for i in range(len(edges)):
        rows = (part == i) & np.isfinite(numbers)
        low, high = say(float(numbers[rows].min())), say(float(numbers[rows].max()))
        yield Slice(column, low if low == high else f"{low} to {high}", rows)


def _sides(codec: ImageCodec, frame: pl.DataFrame) -> Floats:
    """Shorter side of each picture in pixels, from the headers; NaN where a file has gone since."""
    sides = np.full(len(frame), np.nan)
    for i, (raw, name) in enumerate(zip(*codec.raw(frame), strict=True)):
        try:
            sides[i] = min(picture_size(raw, name))
        except DataError:
            continue
    return sides
