"""Runs as the command starts them, in processes of their own, some of several ranks, killed from outside."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from torchkiln.runs import checkpoints

PATIENCE = 180
"""Seconds for a process to start, to come to a step, or to leave after the death of another."""


@dataclass
class Command:
    """`torchkiln fit`, begun and gone on with in a folder.

    Args:
        folder: Where the run is made.
        arguments: Of the first life: data and settings.
        draw: Chooses when to kill.
    """

    folder: Path
    arguments: list[str]
    draw: random.Random
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder / "log.txt"

    def run(self, name: str) -> Path:
        """The run directory of a life that ends by itself: begun, or gone on with if it is there."""
        with self.log.open("a") as log:
            process = self._start(name, log)
            assert process.wait(PATIENCE) == 0, self.log.read_text()[-3000:]
        return self.folder / name

    def kill(self, name: str, step: int, rank: int = 0) -> None:
        """A life whose process of `rank` is killed soon after it has saved `step` or a later one of its own."""
        before = _newest_step(self.folder / name)
        with self.log.open("a") as log:
            process = self._start(name, log)
            everyone = self._wait_for(process, name, max(step, before + 1))
            time.sleep(self.draw.uniform(0, 0.03))
            os.kill(everyone[rank], signal.SIGKILL)
            code = process.wait(PATIENCE)
            assert code == -signal.SIGKILL if rank == 0 else code != 0, f"exit {code}: {self.log.read_text()[-3000:]}"
            _wait_until_gone(everyone)

    def _start(self, name: str, log: IO[str]) -> subprocess.Popen[bytes]:
        begun = (self.folder / name / "recipe.yaml").is_file()
        what = ["--resume", name] if begun else [*self.arguments, "--out", name]
        command = Path(sys.executable).with_name("torchkiln")
        return subprocess.Popen([command, "fit", *what], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                                stderr=subprocess.STDOUT)  # fmt: skip

    def _wait_for(self, process: subprocess.Popen[bytes], name: str, step: int) -> dict[int, int]:
        """Process ids by rank, once the run has saved `step`."""
        deadline = time.monotonic() + PATIENCE
        while _newest_step(self.folder / name) < step:
            assert process.poll() is None, f"it ended before step {step}: {self.log.read_text()[-3000:]}"
            assert time.monotonic() < deadline, f"step {step} was never saved"
            time.sleep(0.002)
        return {0: process.pid, **_further_ranks(process.pid)}


def _newest_step(run: Path) -> int:
    return max(checkpoints.steps(run / "checkpoints", "step"), default=-1)


def _further_ranks(parent: int) -> dict[int, int]:
    """Children that Lightning started as further ranks."""
    found = {}
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        ranks = [int(v.partition(b"=")[2]) for v in variables if v.startswith(b"LOCAL_RANK=")]
        if ranks:
            found[ranks[0]] = int(child)
    return found


def _wait_until_gone(everyone: dict[int, int]) -> None:
    deadline = time.monotonic() + PATIENCE
    while left := [rank for rank, pid in everyone.items() if _is_alive(pid)]:
        if time.monotonic() > deadline:
            for rank in left:
                os.kill(everyone[rank], signal.SIGKILL)
            raise AssertionError(f"ranks {left} outlived the killed one by {PATIENCE} s")
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
