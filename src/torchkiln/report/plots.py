"""The report's plots, each one function from numbers to an SVG of our own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from torchkiln.report import words
from torchkiln.report.svg import WIDTH, Array, Axis, axes, dot, line, path, picture, rect, text, tick_labels

LEFT, RIGHT, TOP, BELOW = 56.0, 14.0, 30.0, 42.0
MOST_POINTS = 400
"""Points of one line; more would be closer together than a pixel."""
MOST_DOTS = 60
"""Points of one line that tell their values to the pointer; of no more points, each is drawn as a dot."""


@dataclass(frozen=True)
class Series:
    """One line of a plot.

    Args:
        name: In the legend.
        css: Class that gives its colour and dash: ours, other, plan.
        x, y: float64 [n]; a value of y that is not finite leaves a gap and a mark.
    """

    name: str
    css: str
    x: Array
    y: Array


@dataclass(frozen=True)
class Score:
    """A score with its interval, for `intervals`.

    Args:
        name: Whose score it is.
        ours: Whether it is this run's.
        value, low, high: The score and its 95 % interval; low and high may be None.
        places: Decimals to print; None: as many as the interval can carry.
    """

    name: str
    ours: bool
    value: float
    low: float | None
    high: float | None
    places: int | None = None


def curves(
    name: str,
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    mark: tuple[float, str] | None = None,
    log: bool = False,
    zero: bool = False,
) -> Markup:
    """Lines over epochs or steps.

    Args:
        name: Unique on the page.
        title: For who cannot see it.
        series: The lines; those that come first are drawn below.
        x_label, y_label: Names of the axes.
        mark: A place on the x axis to point out, and its words.
        log: Logarithmic y axis, if all finite values are above zero.
        zero: The y axis begins at zero.
    """
    height = 250.0
    xs = np.concatenate([s.x for s in series])
    ys = np.concatenate([s.y for s in series])
    ys = np.append(ys[np.isfinite(ys)], 0.0) if zero else ys
    bottom = height - BELOW
    inside = ys[np.isfinite(ys)]
    y = Axis.over(ys, bottom, TOP, log=log and bool(inside.size) and bool((inside > 0).all()))
    y = Axis(0.0, y.high, bottom, TOP) if zero else y
    x = Axis.over(xs, LEFT, WIDTH - RIGHT, pad=0.02)
    body = axes(x, y, x_label, y_label + (", log scale" if y.log else ""), whole_x=True)
    if mark is not None:
        body += _mark(x, y, mark, series[-1])
    for one in series:
        body += _draw(one, x, y, x_label)
    return picture(name, height, title, _describe(series, mark), body)


def _draw(series: Series, x: Axis, y: Axis, x_label: str) -> list[str]:
    finite = np.isfinite(series.y)
    parts = [path(*thin(x.at(series.x), y.at(series.y)), f"line {series.css}")]
    parts += _dots(series, x, y, x_label)
    for a in series.x[~finite][:MOST_POINTS]:
        at = float(x.at(a))
        parts.append(
            f'<path class="line bad" d="M{at - 3:.1f} {y.end:.1f}l6 6m0 -6l-6 6">'
            f"<title>not finite at {words.count(float(a))}</title></path>"
        )
    if not finite.any():
        parts.append(text((x.start + x.end) / 2, (y.start + y.end) / 2, "no finite value", "tick middle"))
    return parts


def _dots(series: Series, x: Axis, y: Axis, x_label: str) -> list[str]:
    """Points with their values for the pointer; of a long line a few, which are not to be seen."""
    places = np.flatnonzero(np.isfinite(series.y))
    radius, css = (5.0 if len(series.x) == 1 else 2.2), f"dot {series.css}"
    if len(series.x) > MOST_DOTS:
        places = places[np.unique(np.linspace(0, len(places) - 1, MOST_DOTS).astype(int))] if len(places) else places
        radius, css = 6.0, "ghost"
    return [
        dot(
            float(x.at(a)),
            float(y.at(b)),
            radius,
            css,
            f"{series.name}, {x_label} {a:,.0f}: {words.figure(b)}",
        )
        for a, b in zip(series.x[places].tolist(), series.y[places].tolist(), strict=True)
    ]


def _mark(x: Axis, y: Axis, mark: tuple[float, str], series: Series) -> list[str]:
    """An upright line with its words, and the value that the last series has there."""
    at, label = float(x.at(mark[0])), mark[1]
    there = series.y[(series.x == mark[0]) & np.isfinite(series.y)]
    side, shift = ("end", -5) if at > (x.start + x.end) / 2 else ("", 5)
    parts = [line(at, y.start, at, y.end - 6, "best")]
    if there.size:
        label = f"{label}, {words.figure(float(there[0]))}"
        parts.append(dot(at, float(y.at(there[0])), 4.5, "ring"))
    return [*parts, text(at + shift, y.end - 12, label, f"tick strong {side}")]


def _describe(series: Sequence[Series], mark: tuple[float, str] | None) -> str:
    sentences = []
    for one in series:
        inside = one.y[np.isfinite(one.y)]
        if inside.size:
            span = f"from {words.figure(float(inside[0]))} to {words.figure(float(inside[-1]))}"
            sentences.append(
                f"{one.name}: {span}, lowest {words.figure(float(inside.min()))}, "
                f"highest {words.figure(float(inside.max()))}."
            )
        else:
            sentences.append(f"{one.name}: no finite value.")
    return " ".join(sentences) + (f" Marked: {mark[1]}." if mark else "")


def thin(x: Array, y: Array, most: int = MOST_POINTS) -> tuple[Array, Array]:
    """At most about `most` points that keep each stretch's lowest and highest, and its gaps."""
    if len(x) <= most:
        return x, y
    keep: list[int] = [0, len(x) - 1]
    for chunk in np.array_split(np.arange(len(x)), most // 2):
        inside = chunk[np.isfinite(y[chunk])]
        keep += [chunk[0]] if inside.size < chunk.size else []
        keep += [inside[y[inside].argmin()], inside[y[inside].argmax()]] if inside.size else []
    order = np.unique(np.array(keep))
    return x[order], y[order]


def intervals(name: str, title: str, scores: Sequence[Score], label: str) -> Markup:
    """Scores as dots on one scale, each with its 95 % interval as a bar."""
    row, height = 46.0, 46.0 * len(scores) + 40
    ends = [v for s in scores for v in (s.value, s.low, s.high) if v is not None]
    x = Axis.over(np.array(ends), 10, WIDTH - 12, pad=0.06)
    ticks = x.ticks(5)
    bottom = row * len(scores) + 4
    body = [line(float(x.at(t)), 4, float(x.at(t)), bottom, "grid") for t in ticks]
    body += [
        text(float(x.at(t)), bottom + 15, label_, "tick middle")
        for t, label_ in zip(ticks, tick_labels(ticks), strict=True)
    ]
    body.append(text(WIDTH / 2, bottom + 31, label, "tick middle"))
    for place, one in enumerate(scores):
        body += _whisker(one, x, row * place + 18, row * place + 34)
    told = [f"{s.name}: {_score(s)}" for s in scores]
    return picture(name, height, title, "; ".join(told) + ".", body)


def _whisker(one: Score, x: Axis, text_at: float, at: float) -> list[str]:
    css = "ours" if one.ours else "other"
    told = _score(one)
    parts = [
        text(10, text_at, words.cut(one.name, 32), "label strong" if one.ours else "label"),
        text(WIDTH - 12, text_at, told, "label end strong" if one.ours else "label end"),
    ]
    if one.low is not None and one.high is not None:
        low, high = float(x.at(one.low)), float(x.at(one.high))
        parts.append(rect(low, at - 3, max(high - low, 1), 6, f"fill {css}", opacity=0.45))
    parts.append(dot(float(x.at(one.value)), at, 5, f"dot {css}", f"{one.name}: {told}"))
    return parts


def _score(one: Score) -> str:
    inside = words.interval(one.value, one.low, one.high, one.places)
    return words.score(one.value, one.low, one.high, one.places) + (f" ({inside})" if inside else "")


def whisker(value: float, low: float, high: float, span: tuple[float, float], overall: float | None) -> Markup:
    """A small interval for a table's cell, with the overall score as an upright line."""
    x = Axis(span[0], span[1] if span[1] > span[0] else span[0] + 1, 4, 136)
    body = [line(4, 9, 136, 9, "grid")]
    if overall is not None:
        body.append(line(float(x.at(overall)), 1, float(x.at(overall)), 17, "best"))
    a, b = float(x.at(low)), float(x.at(high))
    body += [
        rect(a, 6, max(b - a, 1), 6, "fill ours", opacity=0.45),
        dot(float(x.at(value)), 9, 4, "dot ours"),
    ]
    told = f"{words.score(value, low, high)}, 95 % interval {words.interval(value, low, high)}"
    return _mini(140, 18, told, body)


def bar(part: float, told: str, css: str = "ours") -> Markup:
    """A small bar for a table's cell; `part` is its length from 0 to 1."""
    length = 120 * min(max(part, 0), 1)
    return _mini(120, 14, told, [rect(0, 2, 120, 10, "track"), rect(0, 2, length, 10, f"fill {css}")])


def _mini(width: int, height: int, told: str, body: list[str]) -> Markup:
    return Markup(
        f'<svg class="mini" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
        f"<title>{Markup.escape(told)}</title>{''.join(body)}</svg>"
    )


def reliability(name: str, confidence: Array, accuracy: Array, steps: Array, number: Array) -> Markup:
    """How often the net is right against how sure it is; below, how many predictions are how sure.

    Args:
        name: Unique on the page.
        confidence, accuracy: Means of each bin, float64 [bins] in 0..1.
        steps, number: Confidences and how many predictions have about that, [steps].
    """
    height, floor = 350.0, 236.0
    x, y = Axis(0, 1, LEFT, WIDTH - RIGHT), Axis(0, 1, floor, TOP)
    body = axes(x, y, "", "share that is right")
    body.append(line(x.start, y.start, x.end, y.end, "ideal"))
    order = np.argsort(confidence)
    body.append(path(x.at(confidence[order]), y.at(accuracy[order]), "line ours"))
    told = []
    for sure, right in zip(confidence[order].tolist(), accuracy[order].tolist(), strict=True):
        told.append(f"{words.share(sure)} sure, {words.share(right)} right")
        body.append(dot(float(x.at(sure)), float(y.at(right)), 4, "dot ours", told[-1]))
    counts = Axis(0, float(number.max()) or 1.0, height - BELOW + 6, floor + 34)
    body += _crowd(x, counts, steps, number)
    body.append(text((x.start + x.end) / 2, height - 8, "how sure it is; below: predictions", "tick middle"))
    title = "Reliability diagram: share of right predictions against confidence"
    return picture(name, height, title, "; ".join(told) + ".", body)


def _crowd(x: Axis, y: Axis, steps: Array, number: Array) -> list[str]:
    """Bars of how many predictions lie where."""
    wide = (x.end - x.start) / max(len(number), 10) * 0.8
    body = []
    for sure, count in zip(steps.tolist(), number.tolist(), strict=True):
        top, tip = float(y.at(count)), f"{count:,.0f} predictions about {words.share(sure)} sure"
        body.append(rect(float(x.at(sure)) - wide / 2, top, wide, y.start - top, "fill plain", tip))
    return [
        *body,
        line(x.start, y.start, x.end, y.start, "axis"),
        text(x.start - 6, y.end + 8, f"{int(number.max()):,}", "tick end"),
        text(x.start - 6, y.start, "0", "tick end"),
    ]


def agreement(name: str, target: Array, prediction: Array, label: str) -> Markup:
    """Predicted against true numbers: points where they are few, shaded cells where they are many."""
    height = 340.0
    both = np.concatenate([target, prediction])
    x = Axis.over(both, LEFT, WIDTH - RIGHT, pad=0.03)
    y = Axis.over(both, height - BELOW, TOP, pad=0.03)
    body = axes(x, y, f"true {label}", "predicted", most_x=4)
    if len(target) <= 400:
        body += [
            dot(float(a), float(b), 3, "dot ours faint") for a, b in zip(x.at(target), y.at(prediction), strict=True)
        ]
    else:
        body += _cells(target, prediction, x, y)
    body.append(line(x.start, y.start, x.end, y.end, "ideal"))
    told = f"{len(target):,} predictions; on the line, prediction and truth are equal."
    return picture(name, height, f"Predicted against true {label}", told, body)


def _cells(target: Array, prediction: Array, x: Axis, y: Axis, side: int = 44) -> list[str]:
    edges = np.linspace(x.low, x.high, side + 1)
    number, _, _ = np.histogram2d(target, prediction, bins=(edges, edges))
    wide, tall = (x.end - x.start) / side, (y.start - y.end) / side
    return [
        rect(
            x.start + i * wide,
            y.start - (j + 1) * tall,
            wide + 0.2,
            tall + 0.2,
            "fill ours",
            f"{int(number[i, j]):,}",
            0.15 + 0.85 * math.sqrt(number[i, j] / number.max()),
        )
        for i, j in zip(*np.nonzero(number), strict=True)
    ]


def histogram(name: str, values: Array, title: str, label: str, bins: int = 41) -> Markup:
    """How many values fall where; what lies beyond the 0.5 % at each end is counted in the last bars."""
    height = 250.0
    low, high = (float(v) for v in np.quantile(values, [0.005, 0.995]))
    reach = max(abs(low), abs(high)) or 1.0
    number, edges = np.histogram(np.clip(values, -reach, reach), bins=bins, range=(-reach, reach))
    x = Axis(-reach, reach, LEFT, WIDTH - RIGHT)
    y = Axis(0, float(number.max()) * 1.05, height - BELOW, TOP)
    body = axes(x, y, label, "test samples")
    for count, left, right in zip(number, edges, edges[1:], strict=False):
        a, b, top = float(x.at(left)), float(x.at(right)), float(y.at(count))
        tip = f"{int(count):,} from {words.figure(float(left))} to {words.figure(float(right))}"
        body.append(rect(a + 0.5, top, b - a - 1, y.start - top, "fill ours", tip))
    body.append(line(float(x.at(0)), y.start, float(x.at(0)), y.end, "ideal"))
    told = f"{len(values):,} values; median {words.figure(float(np.median(values)))}."
    return picture(name, height, title, told, body)
