"""Every metric with its 95 % interval, and the difference of two predictions on the same rows.

Rows are drawn with replacement; all predictions are measured on the same draws, so that differences are
paired. A draw is kept as how often each row came (counts), from which a metric follows without its rows
being gathered again.

Shapes: n rows, C classes, B draws at a time; counts are float64 [B, n].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from torchkiln import randomness
from torchkiln.tasks import _metrics
from torchkiln.tasks._base import Array, Metric

Floats = npt.NDArray[np.float64]
Resampled = Callable[[Floats], Floats]
"""counts [B, n] -> the metric of each draw [B]."""
RESAMPLES = 1000
_MOST_ROWS_DRAWN = 50_000_000
_FEWEST_RESAMPLES = 200
_CELLS_A_CHUNK = 500_000
"""Counts held at once; few enough to stay in the processor's cache."""
_EXACT_AUROC_CELLS = 10_000
"""Rows times classes up to which AUROC is computed anew for each draw."""
_QUANTILES = (0.025, 0.975)


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval; all NaN where it is undefined."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | None]:
        """`value`, `low`, `high`; None in place of what is not finite."""
        return {name: finite(getattr(self, name)) for name in ("value", "low", "high")}


@dataclass(frozen=True)
class Scores:
    """Metrics of several predictions on the same rows.

    Args:
        values: By prediction, then metric.
        draws: Each metric on each draw, float64 [resamples], by prediction, then metric.
        resamples: How many draws were made.
        notes: What to know about the intervals.
    """

    values: Mapping[str, Mapping[str, Interval]]
    draws: Mapping[str, Mapping[str, Floats]]
    resamples: int
    notes: list[str] = field(default_factory=list)

    def difference(self, one: str, other: str, metric: str) -> Interval:
        """The metric of `one` less that of `other`, paired row by row."""
        value = self.values[one][metric].value - self.values[other][metric].value
        return _percentiles(value, self.draws[one][metric] - self.draws[other][metric])


def score(
    metrics: list[Metric],
    target: Array,
    predictions: Mapping[str, Array],
    seed: int,
    resamples: int | None = None,
) -> Scores:
    """Scores of each of `predictions`.

    Args:
        target: Class indices int64 [n] or numbers [n].
        predictions: Probabilities [n, C] or numbers [n], by name.
        seed: The run's; the same seed gives the same intervals.
        resamples: Draws; None: 1,000, fewer for more than 50,000 rows.
    """
    n = len(target)
    count = resamples or int(np.clip(_MOST_ROWS_DRAWN // max(n, 1), _FEWEST_RESAMPLES, RESAMPLES))
    notes = _count_note(count, n) if resamples is None else []
    draws = _draw(metrics, target, predictions, seed, count)
    values: dict[str, dict[str, Interval]] = {}
    for name, prediction in predictions.items():
        values[name] = {}
        for metric in metrics:
            with np.errstate(all="ignore"):
                value = metric.score(target, prediction)
            interval = _percentiles(value, draws[name][metric.name])
            values[name][metric.name] = _off_the_edge(interval, metric, n)
    return Scores(values, draws, count, notes + _undefined_notes(metrics, target, values))


def finite(value: float) -> float | None:
    """The number, or None where it is not finite and so is no JSON."""
    return float(value) if math.isfinite(value) else None


def _draw(
    metrics: list[Metric], target: Array, predictions: Mapping[str, Array], seed: int, count: int
) -> dict[str, dict[str, Floats]]:
    n = len(target)
    draws = {name: {m.name: np.full(count, np.nan) for m in metrics} for name in predictions}
    sound = {name: p for name, p in predictions.items() if n and np.isfinite(p).all()}
    resampled = {
        (name, m.name): _resampled(m, target, prediction) for name, prediction in sound.items() for m in metrics
    }
    chunk = max(1, _CELLS_A_CHUNK // max(n, 1))
    for start in range(0, count if sound else 0, chunk):
        rows = range(start, min(start + chunk, count))
        counts = np.stack([_counts(seed, r, n) for r in rows])
        for (name, metric_name), measure in resampled.items():
            with np.errstate(all="ignore"):
                draws[name][metric_name][rows.start : rows.stop] = measure(counts)
    return draws


def _counts(seed: int, draw: int, n: int) -> Floats:
    picked = randomness.generator(seed, "bootstrap", draw).integers(0, n, n)
    return np.bincount(picked, minlength=n).astype(np.float64)


def _percentiles(value: float, draws: Floats) -> Interval:
    known = draws[np.isfinite(draws)]
    if not math.isfinite(value) or len(known) == 0:
        return Interval(float(value), float("nan"), float("nan"))
    low, high = np.quantile(known, _QUANTILES)
    return Interval(float(value), float(low), float(high))


def _off_the_edge(interval: Interval, metric: Metric, n: int) -> Interval:
    """Clopper and Pearson's bound where all rows are right or all wrong: no draw then differs."""
    if metric.score is not _metrics.accuracy or interval.value not in (0.0, 1.0):
        return interval
    far = 0.025 ** (1.0 / n)
    return Interval(1.0, far, 1.0) if interval.value == 1.0 else Interval(0.0, 0.0, 1.0 - far)


def _count_note(count: int, n: int) -> list[str]:
    if count == RESAMPLES:
        return []
    return [f"The intervals rest on {count} bootstrap draws, not {RESAMPLES:,}, since there are {n:,} rows."]


def _undefined_notes(metrics: list[Metric], target: Array, values: Mapping[str, Mapping[str, Interval]]) -> list[str]:
    first = next(iter(values.values()), {})
    missing = [m.name for m in metrics if m.name in first and not math.isfinite(first[m.name].value)]
    if not missing or len(missing) == len(metrics):
        return []
    what = "classes are missing from the rows" if target.dtype.kind in "iu" else "the target does not vary"
    return [f"Undefined here, since {what}: {', '.join(missing)}."]


# What each metric is on draws


def _resampled(metric: Metric, target: Array, prediction: Array) -> Resampled:
    known: dict[object, Callable[[], Resampled]] = {
        _metrics.accuracy: lambda: _mean((prediction.argmax(axis=1) == target).astype(np.float64)),
        _metrics.log_loss: lambda: _mean(_metrics.log_losses(target, prediction)),
        _metrics.balanced_accuracy: lambda: _by_class(target, prediction, _mean_recall),
        _metrics.macro_f1: lambda: _by_class(target, prediction, _mean_f1),
        _metrics.auroc: lambda: _auroc(target, prediction),
        _metrics.mae: lambda: _mean(np.abs(_error(target, prediction))),
        _metrics.rmse: lambda: _root(_mean(_error(target, prediction) ** 2)),
        _metrics.r2: lambda: _r2(target, prediction),
    }
    make = known.get(metric.score)
    return make() if make else _any_metric(metric, target, prediction)


def _any_metric(metric: Metric, target: Array, prediction: Array) -> Resampled:
    """A metric we know nothing about, on rows gathered anew; on a fifth of the draws, for it is slow."""

    def measure(counts: Floats) -> Floats:
        values = np.full(len(counts), np.nan)
        for i in range(0, len(counts), 5):
            rows = np.repeat(np.arange(len(target)), counts[i].astype(np.int64))
            values[i] = metric.score(target[rows], prediction[rows])
        return values

    return measure


def _mean(values: Floats) -> Resampled:
    return lambda counts: counts @ values / len(values)


def _root(measure: Resampled) -> Resampled:
    return lambda counts: np.sqrt(measure(counts))


def _error(target: Array, prediction: Array) -> Floats:
    return np.asarray(prediction.astype(np.float64) - target.astype(np.float64))


def _r2(target: Array, prediction: Array) -> Resampled:
    n, centred = len(target), target.astype(np.float64) - target.mean(dtype=np.float64)
    residual, square = _error(target, prediction) ** 2, centred**2

    def measure(counts: Floats) -> Floats:
        spread = counts @ square - (counts @ centred) ** 2 / n
        return np.where(spread > 1e-12 * square.sum(), 1.0 - counts @ residual / spread, np.nan)

    return measure


def _by_class(target: Array, prediction: Array, combine: Callable[[Floats, Floats, Floats], Floats]) -> Resampled:
    classes, best = prediction.shape[1], prediction.argmax(axis=1)
    right = np.flatnonzero(best == target)

    def measure(counts: Floats) -> Floats:
        hits = _sums(target[right], counts[:, right], classes)
        return combine(hits, _sums(target, counts, classes), _sums(best, counts, classes))

    return measure


def _sums(group: Array, counts: Floats, groups: int) -> Floats:
    """Counts summed over the rows of each group: [B, groups]."""
    return np.stack([np.bincount(group, weights=row, minlength=groups) for row in counts])


def _mean_recall(hits: Floats, true: Floats, predicted: Floats) -> Floats:
    return _mean_known(np.where(true > 0, hits / true, np.nan))


def _mean_f1(hits: Floats, true: Floats, predicted: Floats) -> Floats:
    met = true + predicted
    return _mean_known(np.where(met > 0, 2.0 * hits / met, np.nan))


def _mean_known(by_class: Floats) -> Floats:
    """Mean over the classes [B, C] of those that are defined; NaN where none is."""
    known = np.isfinite(by_class)
    return np.asarray(np.where(known, by_class, 0.0).sum(axis=1) / known.sum(axis=1))


# AUROC on draws


def _auroc(target: Array, prediction: Array) -> Resampled:
    """Of the second class of two, else the mean over the classes that a draw holds.

    Where a sort a class and draw would cost too much, the first order of the bootstrap stands in for it
    (the infinitesimal jackknife): a row's influence on the figure, weighed by its count.
    """
    n, width = prediction.shape
    classes = [1] if width == 2 else list(range(width))
    if n * len(classes) > _EXACT_AUROC_CELLS:
        influence = np.mean([_influence(target == c, prediction[:, c]) for c in classes], axis=0)
        point = _metrics.auroc(target, prediction)
        return lambda counts: np.clip(point + counts @ influence / n, 0.0, 1.0)
    parts = [_binary_auroc(target == c, prediction[:, c]) for c in classes]
    return lambda counts: _mean_known(np.stack([part(counts) for part in parts], axis=1))


def _binary_auroc(positive: Array, score: Array) -> Resampled:
    order = np.argsort(score, kind="stable")
    ones = positive[order].astype(np.float64)
    ranked = score[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))

    def measure(counts: Floats) -> Floats:
        ordered = counts[:, order]
        pos, neg = ordered * ones, ordered * (1.0 - ones)
        if len(starts) < len(order):
            pos, neg = np.add.reduceat(pos, starts, axis=1), np.add.reduceat(neg, starts, axis=1)
        below = np.cumsum(neg, axis=1)
        won = np.einsum("bn,bn->b", pos, below) - 0.5 * np.einsum("bn,bn->b", pos, neg)
        return np.asarray(won / (pos.sum(axis=1) * below[:, -1]))

    return measure


def _influence(positive: Array, score: Array) -> Floats:
    """What one more of a row adds to AUROC, times n; the rows' mean is 0. NaN where AUROC is undefined.

    References:
        The placements of DeLong, DeLong, Clarke-Pearson, "Comparing the areas under two or more
        correlated receiver operating characteristic curves", 1988.
    """
    n, ones = len(positive), int(positive.sum())
    if ones in (0, n):
        return np.full(n, np.nan)
    ranks = _metrics.tied_ranks(score)
    within = np.empty(n)
    within[positive] = _metrics.tied_ranks(score[positive])
    within[~positive] = _metrics.tied_ranks(score[~positive])
    others_below = ranks - within
    placement = np.where(positive, others_below / (n - ones), 1.0 - others_below / ones)
    share = np.where(positive, ones / n, 1.0 - ones / n)
    return np.asarray((placement - placement[positive].mean()) / share)
