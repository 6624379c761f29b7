"""A run that is stopped, repeated or has no room left loses nothing."""

from __future__ import annotations

import re
import resource
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def weights(run: Path) -> dict[str, bytes]:
    """The weights of the newest checkpoint of each kind; how many older ones are kept goes by the clock."""
    found = sorted((run / "checkpoints").glob("*-*/weights.safetensors"))
    newest = {path.parent.name.partition("-")[0]: path for path in found}
    assert set(newest) == {"best", "step"}
    return {str(path.relative_to(run)): path.read_bytes() for path in newest.values()}


def wait_for_epochs(run: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Return when `metrics.csv` has `count` rows below its head."""
    table = run / "metrics.csv"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if table.is_file() and table.read_text().count("\n") > count:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("training did not get that far")


# What the plan would choose by the clock is said, so that two runs choose the same.
SETTINGS = (
    "train.epochs=40",
    "train.early_stopping=null",
    "train.threads=1",
    "train.precision=32",
    "data.workers=0",
)


def test_ctrl_c_leaves_a_run_that_goes_on(
    command: Path, environment: dict[str, str], kiln: Any, houses: Path, tmp_path: Path
) -> None:
    whole = kiln("fit", houses, *SETTINGS, "--out", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    process = subprocess.Popen(
        [command, "fit", houses, *SETTINGS, "--out", "cut"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    wait_for_epochs(tmp_path / "cut", 3, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1, errors
    assert "torchkiln fit --resume cut" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "cut" / "test.json").exists(), "the run had ended before it was stopped"

    resumed = kiln("fit", "--resume", "cut", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "cut" / "report.html").is_file()
    table = "metrics.csv"
    assert (tmp_path / "cut" / table).read_bytes() == (tmp_path / "whole" / table).read_bytes()
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


@pytest.mark.parametrize("data", ["shapes", "customers", "houses", "topics"])
def test_a_run_repeats_itself_from_its_own_recipe(
    data: str, kiln: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(data)
    first = kiln("fit", path, "train.epochs=2", "--out", "first", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    again = kiln("fit", "first/recipe.yaml", "--out", "again", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert weights(tmp_path / "again") == weights(tmp_path / "first")
    for name in ("metrics.csv", "codec.json", "recipe.yaml"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()


@pytest.mark.parametrize("room", [100, 20_000, 200_000])
def test_a_full_disk_is_one_sentence(room: int, kiln: Any, houses: Path, tmp_path: Path) -> None:
    """No file may grow beyond `room` bytes: the system answers each longer write with an error."""

    def shrink() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    recipe = tmp_path / "recipe.yaml"
    assert kiln("init", houses, "--out", recipe, cwd=tmp_path).returncode == 0
    full = kiln("fit", recipe, "train.epochs=3", "--out", "run", cwd=tmp_path, preexec_fn=shrink)
    assert full.returncode in (1, 2), full.stdout
    assert "Traceback" not in full.stderr
    assert "run" in full.stderr
    assert re.search("the disk is full|File too large", full.stderr), full.stderr
    # What the sentence advises works.
    resume = "torchkiln fit --resume run" in full.stderr
    onward = ["--resume", "run"] if resume else [recipe, "train.epochs=3", "--out", "run", "--overwrite"]
    again = kiln("fit", *onward, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "run" / "report.html").is_file()


def test_resuming_a_finished_run_changes_nothing(kiln: Any, houses: Path, tmp_path: Path) -> None:
    assert kiln("fit", houses, "train.epochs=1", "--out", "run", cwd=tmp_path).returncode == 0
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*.safetensors")}
    done = kiln("fit", "--resume", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*.safetensors")} == before
