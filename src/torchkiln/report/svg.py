"""What every plot is drawn with: axes with readable ticks, and an accessible frame around the drawing.

Colours are classes of style.css, so that one drawing serves light, dark and paper.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from torchkiln.report.words import cut, minus

Array = npt.NDArray[Any]
WIDTH = 440.0
"""Of a full plot, in units of 12 px text: readable at phone width, and two fit beside each other."""


@dataclass(frozen=True)
class Axis:
    """Values to pixels.

    Args:
        low, high: Values at the two ends.
        start, end: Pixels at the two ends; end < start for an upward axis.
        log: Logarithmic; low is then above zero.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def over(cls, values: Array, start: float, end: float, *, log: bool = False, pad: float = 0.05) -> Axis:
        """An axis that holds all finite values, with `pad` of its length free at both ends."""
        inside = values[np.isfinite(values)]
        low, high = (float(inside.min()), float(inside.max())) if inside.size else (0.0, 1.0)
        if log:
            low, high = math.log10(low), math.log10(high)
        if high - low < 1e-9 * max(abs(low), abs(high), 1e-300):
            room = 0.5 * abs(low) or 0.5
            low, high = low - room, high + room
        low, high = low - pad * (high - low), high + pad * (high - low)
        return cls(10**low, 10**high, start, end, True) if log else cls(low, high, start, end)

    def at(self, values: Any) -> Any:
        """Pixels of values; NaN stays NaN."""
        x = np.asarray(values, dtype=np.float64)
        with np.errstate(all="ignore"):
            if self.log:
                part = (np.log10(x) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
            else:
                part = (x - self.low) / (self.high - self.low)
            return self.start + part * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        """Round values inside the axis, at most `most` + 1 of them."""
        if not self.log:
            return _round_steps(self.low, self.high, most)
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        decades = [10.0**e for e in range(first, last + 1, max(1, -(-(last - first + 1) // most)))]
        if len(decades) >= 3:
            return decades
        fine = [m * 10.0**e for e in range(first - 1, last + 1) for m in (1, 2, 5)]
        inside = [v for v in fine if self.low <= v <= self.high]
        return inside if len(inside) >= 2 else _round_steps(self.low, self.high, most)


def _round_steps(low: float, high: float, most: int) -> list[float]:
    raw = (high - low) / most
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(m * size for m in (1, 2, 2.5, 5, 10) if m * size >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [0.0 if k == 0 else k * step for k in range(first, last + 1)]


def tick_labels(ticks: Sequence[float], *, log: bool = False) -> list[str]:
    """Labels, thousands as k, exponents only where needed; all with as many decimals, but over decades."""
    if log and ticks and ticks[-1] >= 10 * ticks[0]:
        return [tick_labels([tick])[0] for tick in ticks]
    largest = max((abs(t) for t in ticks), default=0.0)
    if largest == 0:
        return ["0" for _ in ticks]
    if largest < 1e-3 or largest >= 1e9:
        return [minus(f"{t:.2g}".replace("e-0", "e-").replace("e+0", "e")) for t in ticks]
    for size, mark in ((1e6, "M"), (1e4, "k")):
        if largest >= size:
            unit = 1e6 if mark == "M" else 1e3
            return [minus(f"{t / unit:g}{mark}") if t else "0" for t in ticks]
    smallest = min((b - a for a, b in itertools.pairwise(ticks)), default=largest)
    places = next((p for p in range(7) if all(abs(round(t, p) - t) < 1e-3 * smallest for t in ticks)), 6)
    if places > 4:
        return [minus(f"{t:g}") for t in ticks]
    return [minus(f"{t:,.{places}f}") for t in ticks]


def picture(name: str, height: float, title: str, description: str, body: Iterable[str]) -> Markup:
    """An SVG that a screen reader can name.

    Args:
        name: Unique on the page; letters, digits and hyphens.
        height: In units of the drawing, whose width is `WIDTH`.
        title, description: Plain text; escaped here.
        body: Elements, escaped already.
    """
    size = f'viewBox="0 0 {WIDTH:g} {height:g}" width="{WIDTH:g}" height="{height:g}"'
    return Markup(
        f'<svg class="plot" {size} role="img" '
        f'aria-labelledby="{name}-t {name}-d"><title id="{name}-t">{escape(title)}</title>'
        f'<desc id="{name}-d">{escape(description)}</desc>{"".join(body)}</svg>'
    )


def axes(x: Axis, y: Axis, x_label: str, y_label: str, *, whole_x: bool = False, most_x: int = 5) -> list[str]:
    """Grid, tick labels and names of both axes; the y axis' name stands above its top."""
    parts = []
    y_ticks = y.ticks(4)
    for value, label in zip(y_ticks, tick_labels(y_ticks, log=y.log), strict=True):
        at = float(y.at(value))
        parts.append(line(x.start, at, x.end, at, "grid"))
        parts.append(text(x.start - 6, at + 4, label, "tick end"))
    x_ticks = [t for t in x.ticks(most_x) if not whole_x or t == int(t)]
    for value, label in zip(x_ticks, tick_labels(x_ticks), strict=True):
        at = float(x.at(value))
        parts.append(line(at, y.start, at, y.start + 4, "axis"))
        parts.append(text(at, y.start + 17, label, "tick middle"))
    parts.append(line(x.start, y.start, x.end, y.start, "axis"))
    parts.append(text((x.start + x.end) / 2, y.start + 34, x_label, "tick middle"))
    parts.append(text(2, y.end - 12, cut(y_label, 30), "tick"))
    return parts


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """A straight line."""
    return f'<line class="{css}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, words: str, css: str) -> str:
    """Words, escaped."""
    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def dot(x: float, y: float, radius: float, css: str, title: str = "") -> str:
    """A filled circle, with words for the pointer that rests on it."""
    inner = f"<title>{escape(title)}</title>" if title else ""
    return f'<circle class="{css}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}">{inner}</circle>'


def rect(x: float, y: float, width: float, height: float, css: str, title: str = "", opacity: float = 1) -> str:
    """A filled rectangle, with words for the pointer that rests on it."""
    inner = f"<title>{escape(title)}</title>" if title else ""
    veil = f' fill-opacity="{opacity:.2f}"' if opacity < 1 else ""
    size = f'width="{max(width, 0):.1f}" height="{max(height, 0):.1f}"'
    return f'<rect class="{css}" x="{x:.1f}" y="{y:.1f}" {size}{veil}>{inner}</rect>'


def path(x: Array, y: Array, css: str) -> str:
    """A line through points in pixels, with a gap where one is not finite."""
    pieces, pen = [], "M"
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        if not (math.isfinite(a) and math.isfinite(b)):
            pen = "M"
            continue
        pieces.append(f"{pen}{a:.1f} {b:.1f}")
        pen = "L"
    return f'<path class="{css}" d="{"".join(pieces)}"/>' if pieces else ""
