"""The matrix can fail: a resume that loses one part of its state does not end with the same bytes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from proof import cases, faults, matrix

pytestmark = pytest.mark.slow

IN_OURS, IN_THEIRS = cases.EVERY_EVENT[0], cases.EVERY_EVENT[2]
WHERE = {
    "batch progress": IN_OURS,
    "callback metrics": IN_OURS,
    "train totals": IN_OURS,
    "best so far": IN_OURS,
    "result collection": IN_THEIRS,
    "torchmetrics states": IN_THEIRS,
    "first-iteration flag": IN_THEIRS,
}


@pytest.fixture(scope="module")
def wholes(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Each case's run that was never killed, and eight kills after which nothing differs while nothing is lost."""

    @cache
    def whole(case: str) -> tuple[matrix.Whole, list[matrix.Kill]]:
        place = tmp_path_factory.mktemp("whole")
        made = matrix.run_whole(server, case, place)
        loop = [kill for kill in made.kills if kill.sequence == "loop"]
        kills = [matrix.Kill(k.sequence, k.at, k.name, every=1) for k in loop[15 :: len(loop) // 8]]
        assert matrix.faults_of(server, case, place, made, kills) == []
        return made, kills

    return whole


def test_each_part_that_can_be_lost_is_lost_once() -> None:
    assert set(WHERE) == set(faults.LOSSES)


@pytest.mark.parametrize("part", WHERE)
def test_without_it_the_matrix_turns_red(part: str, wholes: Any, server: Any, tmp_path: Path) -> None:
    whole, kills = wholes(WHERE[part])
    found = matrix.faults_of(server, WHERE[part], tmp_path, whole, kills, loses=part)
    assert found, f"{len(kills)} resumes without {part} ended as if nothing were missing"
