"""One process trains in a run directory at a time, however the last one ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from torchkiln.errors import RunError
from torchkiln.runs import lock

HOLD = """
import os, sys, time
from pathlib import Path
from torchkiln.runs import lock
with lock.held(Path(sys.argv[1])):
    child = os.fork()
    if child:
        print(child, flush=True)
    time.sleep(60)
"""


def holder(run: Path) -> tuple[subprocess.Popen[str], int]:
    """A process that holds the lock, and the id of one that it forked."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, run], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    """What it forked, as the processes that read samples are, may outlive it and keeps nothing."""
    first, orphan = holder(tmp_path)
    try:
        for refused in (lambda: lock.refuse_if_held(tmp_path), lambda: lock.held(tmp_path).__enter__()):
            with pytest.raises(RunError, match=f"is being trained by process {first.pid} on "):
                refused()
        first.kill()
        first.wait()
        os.kill(orphan, 0)
        with lock.held(tmp_path) as left:
            assert left is not None and left.startswith(f"process {first.pid} on ")
    finally:
        first.kill()
        os.kill(orphan, signal.SIGKILL)
        first.communicate()


def test_it_is_gone_afterwards_and_free_for_the_next(tmp_path: Path) -> None:
    run = tmp_path / "made"
    for _ in range(2):
        with lock.held(run) as left:
            assert left is None and (run / lock.NAME).is_file()
        assert list(run.iterdir()) == []


def test_it_is_refused_within_the_process_too_and_looking_does_not_free_it(tmp_path: Path) -> None:
    with lock.held(tmp_path):
        lock.refuse_if_held(tmp_path)
        with pytest.raises(RunError, match=rf"by this process \({os.getpid()}\)"), lock.held(tmp_path):
            pass
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            assert pool.apply(refused, (tmp_path,))


def refused(run: Path) -> bool:
    try:
        lock.refuse_if_held(run)
    except RunError:
        return True
    return False


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"), lock.held(tmp_path / "file" / "run"):
        pass


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("years of work")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / lock.NAME).symlink_to(tmp_path / "precious")
    with pytest.raises(RunError, match="cannot be written"), lock.held(tmp_path / "run"):
        pass
    assert (tmp_path / "precious").read_text() == "years of work"
