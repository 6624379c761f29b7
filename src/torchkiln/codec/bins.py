"""Where a decision tree over one feature alone would split it."""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

from torchkiln.codec.base import Array

APART = 1e-7
"""Values nearer to one another than this are one value."""
ROUNDING = 1e-9
"""Gain a row that is none: what is left when a pure group is split."""

Floats = npt.NDArray[np.float64]


def tree_splits(x: npt.NDArray[np.float32], target: Array, *, classes: bool, leaves: int, least: int) -> list[float]:
    """The thresholds of a tree grown best first, as scikit-learn's `DecisionTree*` with `max_leaf_nodes` grows it.

    Importing scikit-learn for this alone would cost more than all other reading of a table.

    Args:
        x: float32 [n], finite.
        target: [n], int64 classes or numbers.
        classes: Which of both.
        leaves: Most leaves.
        least: Least rows of a leaf.

    Returns:
        Sorted, at most `leaves` - 1 of them.

    References:
        Breiman et al., "Classification and Regression Trees", 1984.
    """
    order = np.argsort(x, kind="stable")
    values = x[order]
    sums = _running_sums(target[order], classes)
    frontier: list[tuple[float, int, int, int]] = []

    def look_at(low: int, high: int) -> None:
        """Put the best split of the rows low:high among those to choose from."""
        if found := _best(values, sums, low, high, least):
            gain, at = found
            heapq.heappush(frontier, (-gain, low, at, high))

    look_at(0, len(values))
    splits: list[float] = []
    while frontier and len(splits) < leaves - 1:
        _, low, at, high = heapq.heappop(frontier)
        left, right = float(values[at - 1]), float(values[at])
        middle = left / 2 + right / 2
        splits.append(left if middle == right else middle)
        look_at(low, at)
        look_at(at, high)
    return sorted(splits)


def _running_sums(target: Array, classes: bool) -> Floats:
    """[n + 1, k]: over the first i rows, the count of each class or the sum of the standardised numbers."""
    if classes:
        columns = (target[:, None] == np.unique(target)[None, :]).astype(np.float64)
    else:
        numbers = target.astype(np.float64)
        columns = ((numbers - numbers.mean()) / (numbers.std() or 1.0))[:, None]
    return np.concatenate([np.zeros((1, columns.shape[1])), columns.cumsum(axis=0)])


def _best(
    values: npt.NDArray[np.float32], sums: Floats, low: int, high: int, least: int
) -> tuple[float, int] | None:  # fmt: skip
    """How much the best split of the rows low:high takes from the squared error or the Gini index, and its place."""
    if high - low < 2 * least:
        return None
    at = np.arange(low + least, high - least + 1)
    at = at[values[at] > values[at - 1] + np.float32(APART)]
    if not len(at):
        return None
    left, right = sums[at] - sums[low], sums[high] - sums[at]
    score = (left**2).sum(axis=1) / (at - low) + (right**2).sum(axis=1) / (high - at)
    best = int(score.argmax())
    gain = float(score[best] - ((sums[high] - sums[low]) ** 2).sum() / (high - low))
    return (gain, int(at[best])) if gain > ROUNDING * (high - low) else None
