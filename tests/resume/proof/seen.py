"""Whether a run did what its case is named for: a case that does not happen proves nothing."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

from torchkiln.runs import checkpoints

Events = dict[str, list[str]]
Seen = Callable[[Path, Events], bool]


def validations(count: int) -> Seen:
    return lambda _, events: events["loop"].count("after on_validation_end") == count


def steps(count: int) -> Seen:
    return lambda run, _: _newest(run).name == f"step-{count:08d}"


def epochs(least: int, most: int) -> Seen:
    return lambda run, _: least <= len(_rows(run)) <= most


def rate_falls(run: Path, events: Events) -> bool:
    rates = [float(row["lr"]) for row in _rows(run)]
    return min(rates) < max(rates)


def in_state(pattern: str) -> Seen:
    """The newest checkpoint's plain state matches."""
    return lambda run, _: re.search(pattern, (_newest(run) / "state.json").read_text()) is not None


def decided(word: str) -> Seen:
    """The log of decisions has a word."""
    return lambda run, _: (run / "decisions.jsonl").is_file() and word in (run / "decisions.jsonl").read_text()


def scale_fell(run: Path, events: Events) -> bool:
    found = re.search(r'\["scale", ([0-9.]+)\]', (_newest(run) / "state.json").read_text())
    return found is not None and float(found[1]) < 65536


def every(*seen: Seen) -> Seen:
    return lambda run, events: all(one(run, events) for one in seen)


def _rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def _newest(run: Path) -> Path:
    newest = checkpoints.newest(run / "checkpoints", "step")
    assert newest is not None
    return newest
