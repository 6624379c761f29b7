"""The command, killed from outside: each kind of task on real data, and several processes of which one dies."""

from __future__ import annotations

import csv
import os
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from proof import digests
from proof.processes import Command

pytestmark = pytest.mark.slow

DATA = Path(os.environ.get("TORCHKILN_DATA", ""))
needs_data = pytest.mark.skipif(not os.environ.get("TORCHKILN_DATA"), reason="TORCHKILN_DATA names no data sets")
# What the plan would choose by the clock is said, so that two runs choose the same.
SETTINGS = ["train.plan_seconds=0",
            "train.threads=1", "train.precision=32", "train.device=cpu", "train.channels_last=false",
            "data.workers=0", "data.store=memory", "train.checkpoint_every=2"]  # fmt: skip
KILLS = 5


def rows_of(source: str, count: int, delimiter: str = ",") -> Callable[[Path], None]:
    """Writes the first rows of a table as `data.csv`."""

    def write(place: Path) -> None:
        with (DATA / source).open(newline="") as lines, (place / "data.csv").open("w", newline="") as out:
            for number, row in zip(range(count + 1), csv.reader(lines, delimiter=delimiter), strict=False):
                csv.writer(out).writerow(row)
                assert number or len(row) > 1

    return write


def insects(place: Path) -> None:
    """Forty pictures of each class in `data`."""
    for kind in ("ants", "bees"):
        (place / "data" / kind).mkdir(parents=True)
        for file in sorted((DATA / "hymenoptera" / "train" / kind).iterdir())[:40]:
            shutil.copy(file, place / "data" / kind)


TASKS = {
    "table_classification": (rows_of("titanic/titanic.csv", 500),
                             ["data.csv", "--target", "Survived", "train.epochs=4", "train.batch_size=32"]),
    "table_regression": (rows_of("california_housing/housing.csv", 600),
                         ["data.csv", "--target", "median_house_value", "train.epochs=4", "train.batch_size=32"]),
    "text_classification": (rows_of("sst2/train.tsv", 500, "\t"),
                            ["data.csv", "--target", "label", "train.epochs=4", "train.batch_size=32"]),
    "image_classification": (insects, ["data", "train.epochs=4", "train.batch_size=8", "data.image_size=32"]),
}  # fmt: skip


@needs_data
@pytest.mark.parametrize("tasks", [list(TASKS)[:2], list(TASKS)[2:]], ids=" and ".join)
def test_a_real_task_killed_five_times(tasks: list[str], tmp_path: Path) -> None:
    def kill_and_compare(task: str) -> list[str]:
        write, arguments = TASKS[task]
        place = tmp_path / task
        place.mkdir()
        write(place)
        command = Command(place, [*arguments, *SETTINGS], random.Random(task))
        whole = command.run("whole")
        assert f"task: {task}" in (whole / "recipe.yaml").read_text()
        return killed(command, whole, [0] * KILLS)

    with ThreadPoolExecutor(2) as pool:  # the threads only wait
        faults = dict(zip(tasks, pool.map(kill_and_compare, tasks), strict=True))
    assert faults == {task: [] for task in tasks}


@pytest.mark.parametrize(("devices", "ranks"), [(2, [0, 1]), (3, [2, 0])])
def test_one_of_several_processes_killed(devices: int, ranks: list[int], tmp_path: Path) -> None:
    """The others leave, and all go on together."""
    draw = random.Random(devices)
    with (tmp_path / "data.csv").open("w") as out:
        out.write("a,b,kind,y\n")
        for _ in range(300):
            a, b = draw.gauss(0, 1), draw.gauss(0, 1)
            out.write(f"{a},{b},{draw.choice('pqr')},{'yes' if a + b > 0 else 'no'}\n")
    arguments = ["data.csv", "--target", "y", "train.epochs=4", "train.batch_size=8", "train.accumulate=2",
                 "train.validate_every=0.5", f"train.devices={devices}", *SETTINGS]  # fmt: skip
    command = Command(tmp_path, arguments, draw)
    whole = command.run("whole")
    assert killed(command, whole, ranks) == []


def killed(command: Command, whole: Path, ranks: list[int]) -> list[str]:
    """Kill a rank a life at random steps, go on to the end, and say what differs from `whole`."""
    last = int(digests.of(whole)["step"].rpartition("-")[2])
    assert last >= 4 * len(ranks), "the run is too short to be killed so often"
    for step, rank in zip(sorted(command.draw.sample(range(1, int(0.8 * last)), len(ranks))), ranks, strict=True):
        command.kill("killed", step, rank)
    return digests.differing(digests.of(whole), digests.of(command.run("killed")))
