"""Kills at numbered events, each gone on with to the end and compared with the run that was never killed."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proof import cases, digests
from proof.lives import End, Life, Server

EVERY_EVENT = bool(os.environ.get("TORCHKILN_EVERY_EVENT"))
"""Set: each case is killed at each of its events."""
NEVER = 10**6


@dataclass(frozen=True)
class Kill:
    """Where a life ends, and how often its run saves.

    Args:
        sequence, at: As in `Events`.
        name: The event's name.
        every: Steps between two checkpoints.
    """

    sequence: str
    at: int
    name: str
    every: int


@dataclass
class Whole:
    """The run that was never killed.

    Args:
        digest: Of the fit alone, and with test and report.
        kills: All that can be made of its events.
    """

    digest: dict[bool, dict[str, str]]
    kills: list[Kill]


def settings(every: int) -> dict[str, Any]:
    return {"train.checkpoint_every": every}


def run_whole(server: Server, case: str, place: Path, every: int = 7) -> Whole:
    """Train without a kill: once as a fit alone, once with test and report."""
    made = cases.CASES[case]
    if made.folder:
        made.folder(place)
    lives = [Life(case, str(place / f"whole-{only_fit}"), settings=settings(every), only_fit=only_fit)
             for only_fit in (True, False)]  # fmt: skip
    ends = [chain[0] for chain in server.live([[life] for life in lives])]
    for end in ends:
        assert end.how == "ended", f"{case}: never killed, and {end.how}: {end.said}"
    fit, all_stages = (end.events for end in ends)
    assert made.shows(Path(lives[0].run), fit), f"{case}: the run did not do what the case is for"
    often = 7 if made.replays else 1
    kills = [Kill("loop", i, name, often if i % 3 else 7) for i, name in enumerate(fit["loop"])]
    kills += [Kill("write", i, name, every) for i, name in enumerate(fit["write"])]
    kills += [Kill("stage", i, name, every) for i, name in enumerate(all_stages["stage"])]
    return Whole({life.only_fit: digests.of(Path(life.run)) for life in lives}, kills)


def faults_of(server: Server, case: str, place: Path, whole: Whole, kills: list[Kill], loses: str | None = None,
              ) -> list[str]:  # fmt: skip
    """Make the kills, go on with each run, and say what is not as in `whole`."""
    chains = []
    for number, kill in enumerate(kills):
        run, only_fit = str(place / f"kill-{number}"), kill.sequence != "stage"
        chains.append([
            Life(case, run, kill.sequence, kill.at, settings(kill.every), only_fit=only_fit),
            Life(case, run, settings=settings(kill.every), only_fit=only_fit, loses=loses),
        ])  # fmt: skip
    found = []
    for kill, chain, ends in zip(kills, chains, server.live(chains), strict=True):
        for fault in _faults(Path(chain[0].run), chain, ends, whole.digest[chain[0].only_fit]):
            found.append(f"{kill.sequence} {kill.at} ({kill.name}), saved every {kill.every}: {fault}")
    return found


def faults_of_chain(server: Server, run: Path, lives: list[Life], whole: Whole) -> list[str]:
    """Live several lives of one run, and say what is not as in `whole`."""
    return _faults(run, lives, server.live([lives])[0], whole.digest[lives[0].only_fit])


def _faults(run: Path, chain: list[Life], ends: list[End], whole: dict[str, str]) -> list[str]:
    expected = ["ended" if life.at is None else "killed" for life in chain]
    for end, how in zip(ends, expected, strict=False):
        if end.how != how:
            return [f"a life {end.how} where it should have been {how}: {end.said}"]
    found = digests.differing(whole, digests.of(run))
    if not found:
        shutil.rmtree(run)
    return found
