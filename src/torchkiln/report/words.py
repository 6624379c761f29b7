"""Figures as a person reads them: counts, scores with their interval, shares, times, names of measures."""

from __future__ import annotations

import math
import re
from typing import Any

MISSING = "\u2013"
_NAMES = {
    "auroc": "AUROC",
    "balanced_accuracy": "balanced accuracy",
    "ece": "ECE",
    "log_loss": "log loss",
    "macro_f1": "macro F1",
    "mae": "MAE",
    "mse": "MSE",
    "r2": "R²",
    "rmse": "RMSE",
}


def number(value: Any) -> float | None:
    """A JSON value as a float; None where it is no number (NaN and infinities stay)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value)


def finite(value: Any) -> float | None:
    """Like `number`, and None for NaN and infinities."""
    x = number(value)
    return x if x is not None and math.isfinite(x) else None


def count(value: Any) -> str:
    """`22,500`."""
    x = finite(value)
    return MISSING if x is None else f"{x:,.0f}"


def plural(value: int, one: str, many: str | None = None) -> str:
    """`1 row`, `22,500 rows`."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def short_count(value: Any) -> str:
    """`11.2 million`, `4,096`."""
    x = finite(value)
    if x is None:
        return MISSING
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if abs(x) >= size:
            return f"{x / size:.3g} {word}"
    return f"{x:,.0f}"


def figure(value: Any, digits: int = 4) -> str:
    """A number with so many significant digits, without an exponent where one can read it without."""
    x = number(value)
    if x is None:
        return MISSING
    if not math.isfinite(x):
        return "not a number" if math.isnan(x) else ("infinity" if x > 0 else "minus infinity")
    if x == 0:
        return "0"
    size = math.floor(math.log10(abs(x)))
    if size < -4 or size > 8:
        return minus(f"{x:.{digits - 1}e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e"))
    return minus(f"{x:,.{max(digits - 1 - size, 0)}f}")


def plain(value: float, digits: int = 5) -> str:
    """A finite number of a person's own data: `22.25`, `140,977`, no zeros that say nothing."""
    size = math.floor(math.log10(abs(value))) if value else 0
    if size < -4:
        return figure(value)
    text = f"{value:,.{max(digits - 1 - size, 0)}f}"
    return minus(text.rstrip("0").rstrip(".") if "." in text else text)


def score(value: Any, low: Any = None, high: Any = None, places: int | None = None) -> str:
    """A score with as many decimals as its interval can carry, or `places`: `0.853`, `46,190`."""
    x = finite(value)
    if x is None:
        return figure(value)
    return minus(f"{x:z,.{decimals(x, low, high) if places is None else places}f}")


def interval(value: Any, low: Any, high: Any, places: int | None = None) -> str:
    """`0.846 to 0.860`, with the decimals of the score; empty where there is no interval."""
    a, b = finite(low), finite(high)
    if a is None or b is None:
        return ""
    places = decimals(finite(value) or 0.0, low, high) if places is None else places
    return minus(f"{a:z,.{places}f} to {b:z,.{places}f}")


def decimals(value: float, low: Any = None, high: Any = None) -> int:
    """Decimals worth showing: two digits of the interval's width; without one, four digits in all."""
    a, b = finite(low), finite(high)
    if a is None or b is None or b <= a:
        size, digits = (math.floor(math.log10(abs(value))) if value else 0), 3
    else:
        size, digits = math.floor(math.log10(b - a)), 1
    return min(max(digits - size, 0), 6)


def signed(value: Any, low: Any = None, high: Any = None, places: int | None = None) -> str:
    """A difference with its sign: `+0.012`, `-0.003`."""
    text = score(value, low, high, places)
    x = finite(value)
    return f"+{text}" if x is not None and x > 0 else text


def share(value: Any) -> str:
    """`85.3 %`."""
    x = finite(value)
    if x is None:
        return MISSING
    percent = 100 * x
    return minus(f"{percent:.0f}\u00a0%" if percent in (0, 100) else f"{percent:.1f}\u00a0%")


def duration(value: Any) -> str:
    """Seconds as `0.42 s`, `37 s`, `4 min 12 s`, `2 h 5 min`."""
    x = finite(value)
    if x is None:
        return MISSING
    if 0 < x < 0.01:
        return "under 0.01 s"
    if x < 10:
        return f"{x:.2g} s"
    whole = round(x)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def memory(value: Any) -> str:
    """Megabytes as `412 MB` or `3.2 GB`."""
    x = finite(value)
    if x is None:
        return MISSING
    return f"{x:.0f} MB" if x < 1000 else f"{x / 1000:.1f} GB"


def measure(name: str) -> str:
    """The name of a metric in print: `val_macro_f1` is `macro F1`."""
    bare = name.removeprefix("val_").removeprefix("train_")
    return _NAMES.get(bare, bare.replace("_", " "))


def cut(text: str, most: int) -> str:
    """The text's beginning, with an ellipsis where it is longer than `most` characters."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def bound(text: str) -> str:
    """The text with its percent signs bound to their numbers, so that no line begins with one."""
    return re.sub(r"(?<=\d) %", "\u00a0%", text)


def minus(text: str) -> str:
    """Hyphens before digits as true minus signs."""
    return text.replace("-", "\u2212")
