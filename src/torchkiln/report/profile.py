"""What bounds a training step, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchkiln.report import words

Line = tuple[str, str]
BAR = 30
"""Characters of a whole step."""


def lines(found: Mapping[str, Any]) -> list[Line]:
    """A profile as lines of text: the verdict, the share of each bound, the figures, the next step.

    Args:
        found: What `torchkiln.profile` gives.
    """
    settings = found["settings"]
    head = f"Bound by {found['bound']}: {_percent(found['shares'][found['bound']])} of a step"
    said = [("bold", head), ("", "")]
    for name, share in found["shares"].items():
        said.append(("", f"  {name:<16} {_percent(share):>5}  {'#' * round(BAR * share)}".rstrip()))
    threads = f"{words.plural(settings['threads'], 'thread')}, " if settings["device"] == "cpu" else ""
    said += [
        ("", ""),
        ("", f"  step        {_milliseconds(found['seconds_per_step'])}, of {found['steps']} timed; batch "
             f"{settings['batch_size']}, {settings['device']}, {threads}precision {settings['precision']}"),
        ("", f"  arithmetic  {_rate(found['achieved_flops'], 'FLOP/s')} of {_rate(found['peak_flops'], 'FLOP/s')} in a "
             f"matrix product ({_percent(found['achieved_flops'] / found['peak_flops'])})"),
        *(_beyond() if found["achieved_flops"] > found["peak_flops"] else []),
        ("", f"  memory      {_rate(found['achieved_bandwidth'], 'B/s')} moved of "
             f"{_rate(found['peak_bandwidth'], 'B/s')} in a triad"),
        ("", f"  launches    {found['operations_per_step']:,} operations a step; the smallest takes "
             f"{1e6 * found['seconds_per_launch']:.1f} us"),
    ]  # fmt: skip
    said += [("dim", f"  {name}: {_milliseconds(s)} a step") for name, s in found["beside_the_net"].items()]
    said += [("", ""), ("bold", f"Next: {found['next']}")]
    return said + ([("", f"Trace: {found['trace']} (open it at ui.perfetto.dev)")] if found["trace"] else [])


def _beyond() -> list[Line]:
    why = "more than all: convolutions have kernels of their own, and some count for more than they compute"
    return [("dim", " " * 14 + why)]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def _rate(value: float, unit: str) -> str:
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"
