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
    """`text`, `beats_trivial` and `beats_classical` (None where there is no such baseline).

    Args:
        metric: The primary one.
        n: Test rows.
        score: The net's.
        beside: The trivial baseline first, the classical behind it, if there is one.
    """
    name = {"rmse": "RMSE", "mae": "MAE", "r2": "R2", "auroc": "AUROC"}.get(metric.name, metric.name.replace("_", " "))
    if not math.isfinite(score.value):
        text = f"The net has no {name} on the {n:,} test rows: see the notes."
        return {"text": text, "beats_trivial": False, "beats_classical": False if beside[1:] else None}
    held = f"(95 % interval {_figure(score.low, score)} to {_figure(score.high, score)})"
    text = f"{name[0].upper()}{name[1:]} is {_figure(score.value, score)} {held} on {n:,} test rows."
    said = [_said(metric, one, trivial=i == 0) for i, one in enumerate(beside)]
    beats = [one.against(metric) == "better" for one in beside]
    return {
        "text": " ".join([text, *said]),
        "beats_trivial": beats[0] if beats else False,
        "beats_classical": beats[1] if len(beats) > 1 else None,
    }


def _said(metric: Metric, one: Standing, trivial: bool) -> str:
    gap, how = one.difference, one.against(metric)
    name, has = f"the {one.name}" if trivial else one.name, _figure(one.score.value, one.score)
    value, low, high = (_figure(v, gap) for v in (gap.value, gap.low, gap.high))
    apart = f"(difference {value}, 95 % interval {low} to {high})"
    if how == "better":
        return f"That beats {name} at {has}."
    if trivial:
        if how == "worse":
            return f"It does worse than {name} at {has} {apart}: the net has learnt nothing of use."
        return f"These rows do not show that it beats {name} at {has} {apart}."
    named = name[0].upper() + name[1:]
    if how == "worse":
        return f"{named} does better at {has} {apart}: prefer it as it stands."
    return f"{named} has {has}: these rows do not tell which is better {apart}."


def _figure(value: float, interval: Interval) -> str:
    """With as many decimals as show the interval's width to three digits: more of them would mean nothing."""
    width = interval.high - interval.low
    if not math.isfinite(value) or not math.isfinite(width):
        return "undefined" if not math.isfinite(value) else f"{value:.4g}"
    decimals = 2 - math.floor(math.log10(width)) if width > 0 else 4
    return f"{value:,.{min(max(decimals, 0), 8)}f}"
