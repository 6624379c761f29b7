"""Whether two predictions of the same rows differ beyond chance, from what a run directory holds.

Shapes: n rows, C classes, k columns, B draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from torchkiln import randomness

Floats = npt.NDArray[np.float64]
DRAWS = 2000
_CELLS = 4_000_000
"""Counts held at once."""


@dataclass(frozen=True)
class Difference:
    """A difference of two scores with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Measure:
    """A metric as a function of the means of per-row values, so that a draw of rows is a matrix product.

    Args:
        columns: (target [n], prediction [n] or [n, C]) -> values of each row [n, k].
        combine: Means of the columns [..., k] -> the metric [...].
    """

    columns: Callable[[npt.NDArray[np.generic], Floats], Floats]
    combine: Callable[[Floats], Floats]


def paired(measure: Measure, target: npt.NDArray[np.generic], a: Floats, b: Floats, draws: int = DRAWS) -> Difference:
    """The metric of `a` minus that of `b`, both measured on the same rows drawn with replacement.

    Args:
        target: Class indices int64 [n], or numbers [n].
        a: Probabilities [n, C], or numbers [n].
        b: Like `a`, for the same rows.
        draws: How many times rows are drawn.

    References:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile intervals).
    """
    first, second = measure.columns(target, a), measure.columns(target, b)
    both = np.concatenate([first, second], axis=1)
    generator = randomness.generator(0, "compare", len(both))
    at_once = max(1, _CELLS // len(both))
    gaps = []
    for begin in range(0, draws, at_once):
        shape = min(at_once, draws - begin)
        counts = generator.multinomial(len(both), np.full(len(both), 1 / len(both)), size=shape)
        means = counts @ both / len(both)
        gaps.append(measure.combine(means[:, : first.shape[1]]) - measure.combine(means[:, first.shape[1] :]))
    value = measure.combine(first.mean(axis=0)) - measure.combine(second.mean(axis=0))
    low, high = np.nanquantile(np.concatenate(gaps), (0.025, 0.975))
    return Difference(float(value), float(low), float(high))


def from_intervals(a: tuple[float, float, float], b: tuple[float, float, float]) -> Difference:
    """The difference of two scores on different rows, from (value, low, high) of each.

    References:
        The square-and-add method: Zou and Donner, "Construction of confidence limits about effect
        measures", 2008.
    """
    value = a[0] - b[0]
    low = value - math.hypot(a[0] - a[1], b[2] - b[0])
    return Difference(value, low, value + math.hypot(a[2] - a[0], b[0] - b[1]))


def _right(target: npt.NDArray[np.generic], prediction: Floats) -> Floats:
    return np.asarray(prediction.argmax(axis=1) == target, np.float64)[:, None]


def _surprise(target: npt.NDArray[np.generic], prediction: Floats) -> Floats:
    eps = float(np.finfo(np.float32).eps)
    right = prediction[np.arange(len(target)), target.astype(np.int64)]
    return np.asarray(-np.log(np.clip(right, eps, 1 - eps)))[:, None]


def _hits_and_totals(target: npt.NDArray[np.generic], prediction: Floats) -> Floats:
    """For each class whether the row is a hit, holds it, and is said to hold it: [n, 3 C]."""
    classes = np.arange(prediction.shape[1])
    true, said = target[:, None] == classes, prediction.argmax(axis=1)[:, None] == classes
    return np.concatenate([true & said, true, said], axis=1).astype(np.float64)


def _recall(means: Floats) -> Floats:
    hits, true, _ = np.split(means, 3, axis=-1)
    return np.asarray(np.nanmean(np.divide(hits, true, out=np.full_like(hits, np.nan), where=true > 0), axis=-1))


def _f1(means: Floats) -> Floats:
    hits, true, said = np.split(means, 3, axis=-1)
    met = true + said
    return np.asarray(np.nanmean(np.divide(2 * hits, met, out=np.full_like(hits, np.nan), where=met > 0), axis=-1))


def _squares(target: npt.NDArray[np.generic], prediction: Floats) -> Floats:
    numbers = target.astype(np.float64)
    centred = numbers - numbers.mean()
    return np.stack([(prediction - numbers) ** 2, centred, centred**2], axis=1)


def _explained(means: Floats) -> Floats:
    spread = means[..., 2] - means[..., 1] ** 2
    return np.asarray(1 - means[..., 0] / np.where(spread > 0, spread, np.nan))


def _absolute(target: npt.NDArray[np.generic], prediction: Floats) -> Floats:
    return np.abs(prediction - target.astype(np.float64))[:, None]


def _first(means: Floats) -> Floats:
    return np.asarray(means[..., 0])


MEASURES = {
    "accuracy": Measure(_right, _first),
    "balanced_accuracy": Measure(_hits_and_totals, _recall),
    "macro_f1": Measure(_hits_and_totals, _f1),
    "log_loss": Measure(_surprise, _first),
    "rmse": Measure(_squares, lambda means: np.sqrt(means[..., 0])),
    "mae": Measure(_absolute, _first),
    "r2": Measure(_squares, _explained),
}
"""The metrics that follow from means of the rows; AUROC does not."""
