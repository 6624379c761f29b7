"""Measures of predictions, equal to scikit-learn's; NaN where a measure is undefined.

Shapes: n rows, C classes. Targets are class indices int64 [n] or numbers [n], predictions are
probabilities [n, C] or numbers [n]. A prediction that is not finite makes every measure NaN, so that a
net that broke down is never given a score.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from torchkiln.tasks._base import Array, Metric

Floats = npt.NDArray[np.float64]
Score = Callable[[Array, Array], float]
MOST_CLASSES_FOR_AUROC = 200
"""Beyond this many classes one sort a class costs more, each epoch, than the figure says."""


def classification(classes: list[str]) -> list[Metric]:
    """Accuracy first, then balanced accuracy, macro F1, AUROC and log loss.

    Args:
        classes: Names in the order of the probabilities' columns.
    """
    ranked = [Metric("auroc", auroc, True)] if len(classes) <= MOST_CLASSES_FOR_AUROC else []
    return [
        Metric("accuracy", accuracy, True),
        Metric("balanced_accuracy", balanced_accuracy, True),
        Metric("macro_f1", macro_f1, True),
        *ranked,
        Metric("log_loss", log_loss, False),
    ]


def regression() -> list[Metric]:
    """Root mean squared error first, then mean absolute error and the share of variance explained."""
    return [Metric("rmse", rmse, False), Metric("mae", mae, False), Metric("r2", r2, True)]


def _defined(score: Score) -> Score:
    """NaN for no rows at all and for predictions that are not finite."""

    def checked(target: Array, prediction: Array) -> float:
        if len(target) == 0 or not np.isfinite(prediction).all():
            return float("nan")
        return score(target, prediction)

    checked.__name__, checked.__doc__ = score.__name__, score.__doc__
    return checked


@_defined
def accuracy(target: Array, prediction: Array) -> float:
    """Share of rows whose likeliest class is the right one."""
    return float(np.mean(prediction.argmax(axis=1) == target))


@_defined
def balanced_accuracy(target: Array, prediction: Array) -> float:
    """Mean recall over the classes that the target holds."""
    hits, true, _ = class_counts(target, prediction)
    return float(np.mean(hits[true > 0] / true[true > 0]))


@_defined
def macro_f1(target: Array, prediction: Array) -> float:
    """Mean F1 over the classes that target or prediction hold; 0 for one that is never met rightly."""
    hits, true, predicted = class_counts(target, prediction)
    met = (true + predicted) > 0
    return float(np.mean(2 * hits[met] / (true + predicted)[met]))


@_defined
def auroc(target: Array, prediction: Array) -> float:
    """Area under the ROC curve: of the second class of two, else the mean of one-against-rest.

    NaN where a class has no row, or all.
    """
    classes = [1] if prediction.shape[1] == 2 else range(prediction.shape[1])
    return float(np.mean([_binary_auroc(target == c, prediction[:, c]) for c in classes]))


@_defined
def log_loss(target: Array, prediction: Array) -> float:
    """Mean negative logarithm of the probability given to the right class, in nats."""
    return float(np.mean(log_losses(target, prediction)))


@_defined
def rmse(target: Array, prediction: Array) -> float:
    """Root of the mean squared error, in the target's unit."""
    return float(np.sqrt(np.mean(_errors(target, prediction) ** 2)))


@_defined
def mae(target: Array, prediction: Array) -> float:
    """Mean absolute error, in the target's unit."""
    return float(np.mean(np.abs(_errors(target, prediction))))


@_defined
def r2(target: Array, prediction: Array) -> float:
    """Share of the target's variance that is explained; NaN where the target does not vary."""
    spread = float(np.sum((target - np.mean(target, dtype=np.float64)) ** 2, dtype=np.float64))
    if spread == 0.0:
        return float("nan")
    return 1.0 - float(np.sum(_errors(target, prediction) ** 2)) / spread


def class_counts(target: Array, prediction: Array) -> tuple[Array, Array, Array]:
    """Rows a class that were met, that hold it, and that were said to hold it; int64 [C] each."""
    classes, best = prediction.shape[1], prediction.argmax(axis=1)
    hits = np.bincount(target[best == target], minlength=classes)
    return hits, np.bincount(target, minlength=classes), np.bincount(best, minlength=classes)


def log_losses(target: Array, prediction: Array) -> Floats:
    """Log loss of each row [n]; probabilities are held off 0 and 1 by their type's precision."""
    dtype = prediction.dtype if prediction.dtype.kind == "f" else np.dtype(np.float64)
    right = prediction[np.arange(len(target)), target].astype(np.float64)
    eps = float(np.finfo(dtype).eps)
    return np.asarray(-np.log(np.clip(right, eps, 1.0 - eps)))


def tied_ranks(values: Array) -> Floats:
    """Ranks from 1 in rising order, the mean rank where values are equal; float64 [n]."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2.0)[group])


def _binary_auroc(positive: Array, score: Array) -> float:
    """Share of pairs (positive, negative) in the right order, ties counting half: Mann-Whitney's U."""
    n, ones = len(positive), int(positive.sum())
    if ones in (0, n):
        return float("nan")
    above = float(tied_ranks(score)[positive].sum()) - ones * (ones + 1) / 2
    return above / (ones * (n - ones))


def _errors(target: Array, prediction: Array) -> Floats:
    return np.asarray(prediction.astype(np.float64) - target.astype(np.float64))
