"""One honest sentence or two: how well the net does, and against what."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from torchkiln.evaluation.scores import Interval
from torchkiln.tasks._base import Metric


@dataclass(frozen=True)
class Standing:
    """A baseline beside the net.

    Args:
        name: What it is.
        score: Its primary metric.
        difference: The net's primary metric less its own, paired.
    """

    name: str
    score: Interval
    difference: Interval

    def against(self, metric: Metric) -> Literal["better", "worse", "level"]:
        """How the net does against it: better or worse only where the whole interval says so."""
        sign = 1.0 if metric.higher_is_better else -1.0
        low, high = sorted((sign * self.difference.low, sign * self.difference.high))
        return "better" if low > 0 else "worse" if high < 0 else "level"


def verdict(metric: Metric, n: int, score: Interval, beside: list[Standing]) -> dict[str, Any]:
    """`text`, `beats_trivial` and `beats_classical`; the latter two None where there is no such baseline.

    Args:
        metric: The primary one.
        n: Test rows.
        score: The net's.
        beside: The trivial baseline first, the classical behind it, if there is one.
    """
    name = {"rmse": "RMSE", "mae": "MAE", "r2": "R2", "auroc": "AUROC"}.get(metric.name, metric.name.replace("_", " "))
    if not math.isfinite(score.value):
        text = f"The net has no {name} on the {n:,} test rows: see the notes."
        return {
            "text": text,
            "beats_trivial": False if beside else None,
            "beats_classical": False if beside[1:] else None,
        }
    held = f"(95 % interval {_figure(score.low, score)} to {_figure(score.high, score)})"
    text = f"{name[0].upper()}{name[1:]} is {_figure(score.value, score)} {held} on {n:,} test rows."
    standings = [one.against(metric) for one in beside]
    called = [_called(one, i) for i, one in enumerate(beside)]
    beaten = [name for name, how in zip(called, standings, strict=True) if how == "better"]
    said = [f"That beats {' and '.join(beaten)}."] if beaten else []
    said += [_said(i, one, how) for i, (one, how) in enumerate(zip(beside, standings, strict=True)) if how != "better"]
    return {
        "text": " ".join([text, *said]),
        "beats_trivial": standings[0] == "better" if beside else None,
        "beats_classical": standings[1] == "better" if beside[1:] else None,
    }


def _called(one: Standing, place: int) -> str:
    """Name and score; the trivial baseline is the first."""
    article = "" if place else "the "
    return f"{article}{one.name} at {_figure(one.score.value, one.score)}"


def _said(place: int, one: Standing, how: str) -> str:
    """A sentence on a baseline that is not beaten."""
    value, low, high = (
        _figure(v, one.difference) for v in (one.difference.value, one.difference.low, one.difference.high)
    )
    called, apart = _called(one, place), f"(difference {value}, 95 % interval {low} to {high})"
    if place == 0 and how == "worse":
        return f"It does worse than {called} {apart}: the net has learnt nothing of use."
    if how == "worse":
        return f"{called[0].upper()}{called[1:]} does better {apart}: as things stand, prefer it."
    return f"These rows do not show whether it beats {called} {apart}."


def _figure(value: float, interval: Interval) -> str:
    """With as many decimals as show the interval's width to three digits: more of them would mean nothing."""
    width = interval.high - interval.low
    if not math.isfinite(value) or not math.isfinite(width):
        return "undefined" if not math.isfinite(value) else f"{value:.4g}"
    decimals = 2 - math.floor(math.log10(width)) if width > 0 else 4
    return f"{value:,.{min(max(decimals, 0), 8)}f}"
