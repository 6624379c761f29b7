"""A run that is killed again and again ends as one that never was."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from proof import cases, matrix
from proof.lives import Life

pytestmark = pytest.mark.slow
KILLS = 10


@pytest.mark.parametrize("case", cases.EVERY_EVENT)
def test_ten_kills_in_one_run(case: str, server: Any, tmp_path: Path) -> None:
    whole = matrix.run_whole(server, case, tmp_path)
    draw = random.Random(case)
    settings = matrix.settings(1)
    for number in range(3):
        run = str(tmp_path / f"chain-{number}")
        places = [(s, draw.randint(*AT[s])) for s in draw.choices(list(AT), [3, 1], k=KILLS)]
        lives = [Life(case, run, *place, settings, only_fit=True) for place in places]
        lives.append(Life(case, run, settings=settings, only_fit=True))
        faults = matrix.faults_of_chain(server, Path(run), lives, whole)
        assert not faults, f"killed at {places}:\n" + "\n".join(faults)


AT = {"loop": (3, 17), "write": (0, 11)}
"""Events of a life at which it may be killed: few enough that ten lives do not come to the end."""
