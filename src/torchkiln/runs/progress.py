"""What happens during a run, told to whoever shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Progress:
    """Hooks that do nothing; a display overrides those it needs. None may be slow."""

    def stage(self, name: str, text: str) -> None:
        """A stage begins: data, plan, fit, test, report."""

    def message(self, text: str, level: str = "note") -> None:
        """A finding, a decision or a warning; level note, warn or stop."""

    def plan(self, decisions: list[dict[str, Any]]) -> None:
        """The plan's decisions, before training."""

    def start(self, epochs: int, steps: int) -> None:
        """Training begins; optimizer steps in all, as planned."""

    def step(self, epoch: int, step: int, values: Mapping[str, float]) -> None:
        """Some steps later: `loss`, `samples_per_second`, `seconds_left`; called by the clock."""

    def epoch(self, row: Mapping[str, Any], timing: Mapping[str, Any]) -> None:
        """An epoch ended: its rows of metrics.csv and timings.csv."""

    def done(self, summary: Mapping[str, Any]) -> None:
        """The run ended well: the content of test.json, and `run`."""
