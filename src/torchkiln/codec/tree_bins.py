"""Where a decision tree over one feature alone would split it.

scikit-learn sorts the rows of each node anew; with one feature they are sorted once, and each node is a run of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from torchkiln.codec.base import Array

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Gains = Callable[[int, int], tuple[Floats, float, bool]]
"""Run [a, b) -> (what a split before a + 1, a + 2, ... leaves, what the whole run has, whether it is pure)."""

_APART = np.float32(1e-7)
"""Values that lie closer are one."""


def thresholds(x: npt.NDArray[np.float32], target: Array, *, classes: bool, most: int, least: int) -> list[float]:
    """Bounds between bins, rising; those of scikit-learn's tree with `max_leaf_nodes` and `min_samples_leaf`.

    Args:
        x: The feature, finite, of shape [n].
        target: int64 class indices or numbers, [n].
        classes: Which of both: impurity is Gini's, or the variance.
        most: Bins.
        least: Rows of a bin.
    """
    order = np.argsort(x, kind="stable")
    x, target = x[order], target[order]
    cuts = np.flatnonzero(x[1:] > x[:-1] + _APART) + 1
    gains = _of_classes(target) if classes else _of_numbers(target.astype(np.float64))
    found: list[float] = []
    open_runs: list[tuple[float, int, int, int]] = []  # best gain first: (-gain, start, end, split)

    def look(a: int, b: int) -> None:
        places = cuts[np.searchsorted(cuts, a + least) : np.searchsorted(cuts, b - least, "right")]
        if b - a < 2 * least or not len(places):
            return
        left, whole, pure = gains(a, b)
        if pure:
            return
        here = left[places - a - 1]
        best = int(here.argmax())
        heapq.heappush(open_runs, (whole - float(here[best]), a, b, int(places[best])))

    look(0, len(x))
    while open_runs and len(found) < most - 1:
        _, a, b, split = heapq.heappop(open_runs)
        found.append(float(x[split - 1]) / 2 + float(x[split]) / 2)
        look(a, split)
        look(split, b)
    return sorted(found)


def _of_numbers(y: Floats) -> Gains:
    """Squares of sums over their counts: the larger, the less variance is left."""
    sums, squares = _running(y), _running(y * y)

    def gains(a: int, b: int) -> tuple[Floats, float, bool]:
        n = np.arange(1, b - a)
        left, whole = sums[a + 1 : b] - sums[a], sums[b] - sums[a]
        pure = (squares[b] - squares[a]) / (b - a) - (whole / (b - a)) ** 2 <= np.finfo(np.float64).eps
        return left**2 / n + (whole - left) ** 2 / (b - a - n), float(whole**2 / (b - a)), bool(pure)

    return gains


def _of_classes(y: Ints) -> Gains:
    """Sums of squared counts of classes over the counts of rows: the larger, the less of Gini's impurity is left."""
    kinds = int(y.max(initial=0)) + 1
    by_class = np.argsort(y, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(y, minlength=kinds))])
    nth = np.empty(len(y), np.int64)  # of its class, from 0, in the order of the feature
    nth[by_class] = np.arange(len(y)) - starts[y[by_class]]

    def gains(a: int, b: int) -> tuple[Floats, float, bool]:
        here = y[a:b]
        counts = np.bincount(here, minlength=kinds)
        before = np.zeros(kinds, np.int64)
        before[here[::-1]] = nth[a:b][::-1]  # the first of each class writes last
        left = np.cumsum(2 * (nth[a:b] - before[here]) + 1)[:-1]
        whole = int((counts**2).sum())
        right = whole - 2 * np.cumsum(counts[here])[:-1] + left
        n = np.arange(1, b - a)
        return left / n + right / (b - a - n), whole / (b - a), int(counts.max()) == b - a

    return gains


def _running(values: Floats) -> npt.NDArray[Any]:
    """Sums of the first 0, 1, ... values."""
    return np.concatenate([[0.0], np.cumsum(values)])
