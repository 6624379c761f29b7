"""What a score is made of: which classes are mixed up, how far confidence can be trusted, how errors lie."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchkiln import randomness
from torchkiln.tasks._base import Array

MOST_CLASSES = 300
"""Beyond this the matrix of counts is no longer worth its size; the predictions hold it all."""
_BINS, _ROWS_A_BIN = 15, 20
_MOST_POINTS, _HISTOGRAM_BINS = 2_000, 40


def confusion(target: Array, prediction: Array) -> list[list[int]] | None:
    """Counts by true class (row) and likeliest class (column); None above 300 classes."""
    classes = prediction.shape[1]
    if classes > MOST_CLASSES:
        return None
    cells = target * classes + prediction.argmax(axis=1)
    counted = np.bincount(cells, minlength=classes * classes).reshape(classes, classes)
    matrix: list[list[int]] = counted.tolist()
    return matrix


def most_confused(target: Array, prediction: Array, names: list[str], most: int = 5) -> str:
    """The pairs of classes that are mixed up most, in one sentence; empty where nothing is."""
    best = prediction.argmax(axis=1)
    wrong = best != target
    pairs, counts = np.unique(np.stack([target, best], axis=1)[wrong], axis=0, return_counts=True)
    if len(pairs) == 0:
        return ""
    rows = np.bincount(target, minlength=len(names))
    order = np.argsort(-counts, kind="stable")[:most]
    said = [f"{names[pairs[i, 0]]} taken for {names[pairs[i, 1]]} ({counts[i]} of {rows[pairs[i, 0]]})" for i in order]
    return f"Mixed up most: {', '.join(said)}."


def calibration(target: Array, prediction: Array) -> dict[str, Any]:
    """How often the likeliest class was right, by how sure the net was.

    Returns:
        `bins` of equally many rows, from unsure to sure, each with mean `confidence`, `accuracy` and `n`;
        `ece`, the mean distance of both, weighed by rows.

    References:
        Equal-mass bins: Nixon et al., "Measuring calibration in deep learning", 2019.
    """
    best = prediction.argmax(axis=1)
    confidence = prediction[np.arange(len(best)), best].astype(np.float64)
    right = best == target
    order = np.argsort(confidence, kind="stable")
    count = int(np.clip(len(order) // _ROWS_A_BIN, 1, _BINS))
    bins, distance = [], 0.0
    for rows in np.array_split(order, count):
        sure, true = float(confidence[rows].mean()), float(right[rows].mean())
        distance += abs(sure - true) * len(rows)
        bins.append({"confidence": sure, "accuracy": true, "n": len(rows)})
    return {"bins": bins, "ece": distance / len(order)}


def residuals(target: Array, prediction: Array, seed: int) -> dict[str, Any]:
    """Prediction against truth for up to 2,000 rows drawn by the seed, and how all errors lie.

    Returns:
        `points` as [true, predicted]; `histogram` with `edges` and `counts` of prediction less truth, the
        outermost hundredth on either side gathered in the end bins; `bias`, the mean error.
    """
    error = prediction.astype(np.float64) - target.astype(np.float64)
    kept = np.sort(randomness.permutation(seed, "residuals", 0, len(error))[:_MOST_POINTS])
    low, high = np.quantile(error, [0.01, 0.99]) if len(error) > 100 else (error.min(), error.max())
    high = high if high > low else low + 1.0
    counts, edges = np.histogram(np.clip(error, low, high), bins=_HISTOGRAM_BINS, range=(low, high))
    return {
        "points": [[float(t), float(p)] for t, p in zip(target[kept], prediction[kept], strict=True)],
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        "bias": float(error.mean()),
    }
