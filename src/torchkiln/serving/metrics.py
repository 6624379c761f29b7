"""Counters and histograms, in the text form that Prometheus reads; summed over the workers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
HELP = {
    "torchkiln_requests_total": "Requests by model, version and status.",
    "torchkiln_queue_seconds": "From the queue's end to its front.",
    "torchkiln_codec_seconds": "Raw records to arrays.",
    "torchkiln_model_seconds": "Batches in the model.",
    "torchkiln_total_seconds": "From the end of the headers to the answer.",
    "torchkiln_batch_rows": "Rows that were computed together.",
    "torchkiln_queue_rows": "Rows that wait.",
    "torchkiln_shed_total": "Requests refused because the queue was full.",
    "torchkiln_dropped_total": "Requests given up before they were computed: deadline passed or client gone.",
    "torchkiln_restarts_total": "Workers that were started again.",
    "torchkiln_drift_psi": "Population stability index of a feature against the training data.",
    "torchkiln_unseen_share": "Share of values of a feature that training never saw.",
    "torchkiln_shadow_total": "Mirrored requests by outcome: equal, differs, failed or dropped.",
    "torchkiln_log_lost_total": "Lines of logs that could not be written.",
    "torchkiln_cache_hits_total": "Answers from the response cache.",
}
"""Every name there is, and what it counts."""

Labels = tuple[tuple[str, str], ...]
"""Label names and values, from a closed set: models, versions, statuses, features."""


class Histogram:
    """How many values fell below each bound.

    Args:
        bounds: Rising.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds, self.counts, self.sum = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Metrics:
    """All that one worker counts."""

    def __init__(self) -> None:
        self.counters: dict[tuple[str, Labels], float] = {}
        self.gauges: dict[tuple[str, Labels], float] = {}
        self.histograms: dict[tuple[str, Labels], Histogram] = {}

    def add(self, name: str, labels: Labels = (), by: float = 1.0) -> None:
        """Raise a counter."""
        key = (name, labels)
        self.counters[key] = self.counters.get(key, 0.0) + by

    def put(self, name: str, value: float, labels: Labels = ()) -> None:
        """Set a gauge."""
        self.gauges[name, labels] = value

    def histogram(self, name: str, labels: Labels) -> Histogram:
        """The one of this name, to be kept and observed."""
        bounds = ROWS if name.endswith("_rows") else SECONDS
        return self.histograms.setdefault((name, labels), Histogram(bounds))

    def state(self) -> dict[str, Any]:
        """JSON-ready, for `text` in another worker."""
        return {
            "counters": [[name, labels, value] for (name, labels), value in self.counters.items()],
            "gauges": [[name, labels, value] for (name, labels), value in self.gauges.items()],
            "histograms": [[name, labels, h.bounds, h.counts, h.sum] for (name, labels), h in self.histograms.items()],
        }


def text(states: Iterable[dict[str, Any]]) -> str:
    """What /metrics answers: the sum over workers; of gauges of drift the largest.

    Args:
        states: As `Metrics.state` gives them.
    """
    sums: dict[tuple[str, Labels], float] = {}
    kinds: dict[str, str] = {}
    merged: dict[tuple[str, Labels], tuple[Any, list[int], float]] = {}
    for state in states:
        for name, labels, value in state["counters"]:
            kinds[name] = "counter"
            sums[name, _labels(labels)] = sums.get((name, _labels(labels)), 0.0) + value
        for name, labels, value in state["gauges"]:
            kinds[name] = "gauge"
            before = sums.get((name, _labels(labels)), 0.0)
            sums[name, _labels(labels)] = before + value if name.endswith("_rows") else max(before, value)
        for name, labels, bounds, counts, total in state["histograms"]:
            kinds[name] = "histogram"
            _, found, before = merged.get((name, _labels(labels)), (bounds, [0] * len(counts), 0.0))
            merged[name, _labels(labels)] = (
                bounds,
                [a + b for a, b in zip(found, counts, strict=True)],
                before + total,
            )
    lines: list[str] = []
    for name in sorted(kinds):
        lines += [f"# HELP {name} {HELP[name]}", f"# TYPE {name} {kinds[name]}"]
        lines += [f"{name}{_written(labels)} {value:.10g}" for (n, labels), value in sums.items() if n == name]
        for (n, labels), (bounds, counts, total) in merged.items():
            if n == name:
                lines += _histogram_lines(name, labels, bounds, counts, total)
    return "\n".join(lines) + "\n"


def _histogram_lines(name: str, labels: Labels, bounds: Iterable[float], counts: list[int], total: float) -> list[str]:
    lines, below = [], 0
    for bound, count in zip([*bounds, "+Inf"], counts, strict=True):
        below += count
        edge = bound if isinstance(bound, str) else f"{bound:g}"
        lines.append(f"{name}_bucket{_written((*labels, ('le', edge)))} {below}")
    return [*lines, f"{name}_sum{_written(labels)} {total:.10g}", f"{name}_count{_written(labels)} {below}"]


def _labels(labels: Iterable[Iterable[str]]) -> Labels:
    return tuple((name, value) for name, value in labels)


def _written(labels: Labels) -> str:
    if not labels:
        return ""
    escaped = {n: v.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for n, v in labels}
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"
