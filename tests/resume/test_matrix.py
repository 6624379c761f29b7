"""Kill a run at its events, go on, and find the same bytes: for each way to train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from proof import cases, digests, lives, matrix

FULL = cases.EVERY_EVENT
REST = [name for name in cases.CASES if name not in FULL]


@pytest.mark.slow
@pytest.mark.parametrize("case", FULL)
def test_killed_at_every_event(case: str, server: Any, tmp_path: Path) -> None:
    whole = matrix.run_whole(server, case, tmp_path)
    faults = matrix.faults_of(server, case, tmp_path, whole, whole.kills)
    assert not faults, f"{len(faults)} after {len(whole.kills)} kills:\n" + "\n".join(faults)


@pytest.mark.slow
@pytest.mark.parametrize("case", REST)
def test_killed_at_some_events(case: str, server: Any, tmp_path: Path) -> None:
    whole = matrix.run_whole(server, case, tmp_path)
    stride = 1 if matrix.EVERY_EVENT else cases.CASES[case].stride
    kills = whole.kills[stride // 2 :: stride] or [whole.kills[len(whole.kills) // 2]]
    if cases.CASES[case].every_stage:
        kills += [kill for kill in whole.kills if kill.sequence == "stage" and kill not in kills]
    faults = matrix.faults_of(server, case, tmp_path, whole, kills)
    assert not faults, f"{len(faults)} after {len(kills)} of {len(whole.kills)} kills:\n" + "\n".join(faults)


def test_killed_at_a_few_events(server: Any, tmp_path: Path) -> None:
    """The part of the matrix that is quick enough for every edit."""
    whole = matrix.run_whole(server, "plain", tmp_path)
    kills = whole.kills[20::61]
    faults = matrix.faults_of(server, "plain", tmp_path, whole, kills)
    assert not faults, "\n".join(faults)


@pytest.mark.slow
@pytest.mark.parametrize("case", [*FULL, "plain", "swa", "fp16 with a scaler that skips"])
def test_how_often_a_run_saves_is_no_part_of_its_result(case: str, server: Any, tmp_path: Path) -> None:
    often = [matrix.NEVER, 7, 1]
    chains = [[lives.Life(case, str(tmp_path / str(every)), settings=matrix.settings(every))] for every in often]
    for (end,) in server.live(chains):
        assert end.how == "ended", end.said
    never, *others = (digests.of(tmp_path / str(every)) for every in often)
    assert [digests.differing(never, other) for other in others] == [[], []]
