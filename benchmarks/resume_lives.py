"""Parts and processes that resume.py starts, to clock them and to kill them.

python benchmarks/resume_lives.py save FOLDER           save checkpoints without pause
python benchmarks/resume_lives.py torch_save FOLDER     the same by torch.save over one file
python benchmarks/resume_lives.py torchkiln TIMES ...   the command line, noting in TIMES what happens when
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BATCHES, BATCH = 50, 128
"""Batches of one epoch, and samples of each."""


# What is trained: named by class path in the recipe


def net(width: int) -> Any:
    """Three hidden layers; a width of 1,800 makes 7 million parameters."""
    from torch import nn

    return nn.Sequential(
        nn.Linear(256, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, 10),
    )  # fmt: skip


def data(batch: int = BATCH) -> Any:
    """Random inputs and labels: 50 batches to train on, one each to validate and to test."""
    import torch
    from torch.utils.data import TensorDataset

    draw = torch.Generator().manual_seed(0)

    def points(n: int) -> TensorDataset:
        return TensorDataset(torch.randn(n, 256, generator=draw), torch.randint(10, (n,), generator=draw))

    return points(BATCHES * batch), points(batch), points(batch)


# Savers that are killed


def save_until_killed(folder: Path, acknowledged: Callable[[int], None]) -> None:
    """Save 9.6 MB again and again as a run does; tell the step of each save that has returned."""
    from torchkiln.runs import checkpoints

    checkpoints.sweep(folder, "step")
    newest = checkpoints.newest(folder, "step")
    step = int(newest.name.rpartition("-")[2]) if newest else 0
    while True:
        step += 1
        checkpoints.write(folder, f"step-{step:08d}", content(step).write)
        acknowledged(step)
        checkpoints.keep_newest(folder, "step", 2)


def content(step: int) -> Any:
    """A state of 9.6 MB of which every element tells the step."""
    import torch

    from torchkiln.training.state_files import Snapshot

    return Snapshot({"step": step, "tensors": [torch.full((800_000,), float(step)) for _ in range(3)]}, "state")


def newest_content(folder: Path) -> tuple[int, bool]:
    """The newest step that a resume would take, and whether the two that are kept are whole and hold their steps."""
    from torchkiln.runs import checkpoints
    from torchkiln.training.state_files import load

    newest, good = 0, True
    for step in checkpoints.steps(folder, "step")[-2:]:
        place = folder / f"step-{step:08d}"
        whole = checkpoints.is_whole(place)
        state = load(place, "state") if whole else {"step": None, "tensors": []}
        good &= state["step"] == step and all(bool((t == step).all()) for t in state["tensors"])
        newest = max(newest, step if whole else 0)
    return newest, good


def torch_save_until_killed(folder: Path, acknowledged: Callable[[int], None]) -> None:
    """The same 9.6 MB by `torch.save` over one file."""
    import torch

    step = 0
    while True:
        step += 1
        torch.save(
            {"step": step, "tensors": [torch.full((800_000,), float(step)) for _ in range(3)]}, folder / "last.pt"
        )
        acknowledged(step)


def torch_readable(folder: Path) -> tuple[int, bool]:
    """The step in the file, and whether it can be read; one that cannot is removed, as its owner would."""
    import torch

    file = folder / "last.pt"
    if not file.exists():
        return 0, True
    try:
        return int(torch.load(file)["step"]), True
    except Exception:
        file.unlink()
        return 0, False


def kill_savers(folder: Path, kills: int, save: Any, look: Any, seed: int = 0) -> dict[str, int]:
    """Fork a saver, kill it after 5 to 250 ms, look at what it left; so many times in one folder."""
    draw, found = random.Random(seed), {"kills": kills, "unreadable": 0, "lost": 0, "saves": 0, "torn": 0}
    for _ in range(kills):
        last = folder / "acknowledged"
        child = os.fork()
        if child == 0:
            line = os.open(last, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            save(folder, lambda step: os.pwrite(line, f"{step:09d}".encode(), 0))  # noqa: B023
        time.sleep(draw.uniform(0.005, 0.25))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        told = int(last.read_text() or 0) if last.exists() else 0
        found["torn"] += any(folder.glob(".tmp-*"))
        newest, good = look(folder)
        found["unreadable"] += not good
        found["lost"] += newest < told
        found["saves"] += told > 0
    return found


# The command line, watched


def watched(times: Path, words: list[str]) -> int:
    """`torchkiln WORDS`; each batch, save and write is a line of `times` as it ends.

    KILL_AT and LEAVE_AT in the environment end the process before that batch of this life: by SIGKILL once
    nothing is being written any more, or quietly.
    """
    from torchkiln import cli
    from torchkiln.runs import checkpoints
    from torchkiln.training.safe_point import SafePoint

    out = os.open(times, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    write, save, batch_start = checkpoints.write, SafePoint.save, SafePoint.on_train_batch_start
    writing, count = [0], [0]

    def note(what: str, begun: float, **more: Any) -> None:
        os.write(out, json.dumps({"what": what, "begun": begun, "ended": time.monotonic(), **more}).encode() + b"\n")

    def noted_write(folder: Path, name: str, fill: Any, **more: Any) -> Path:
        writing[0] += 1
        begun = time.monotonic()
        try:
            return write(folder, name, fill, **more)
        finally:
            note("write", begun, name=name)
            writing[0] -= 1

    def noted_save(self: SafePoint, trainer: Any, batch: int) -> None:
        while "ALONE" in os.environ and writing[0]:
            time.sleep(0.001)
        begun = time.monotonic()
        save(self, trainer, batch)
        note("save", begun, step=trainer.global_step)

    def noted_batch(self: SafePoint, trainer: Any, *arguments: Any) -> None:
        note("batch", time.monotonic(), step=trainer.global_step)
        if count[0] == int(os.environ.get("KILL_AT", -1)):
            while writing[0]:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        if count[0] == int(os.environ.get("LEAVE_AT", -1)):
            os._exit(0)
        count[0] += 1
        batch_start(self, trainer, *arguments)

    checkpoints.write = noted_write
    SafePoint.save = noted_save  # type: ignore[method-assign]
    SafePoint.on_train_batch_start = noted_batch  # type: ignore[method-assign, assignment]
    code = cli.main(words)
    note("end", time.monotonic())
    return code


def main() -> int:
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what == "torchkiln":
        return watched(folder, sys.argv[3:])
    import torch

    torch.set_num_threads(1)
    kinds = {"save": (save_until_killed, newest_content), "torch_save": (torch_save_until_killed, torch_readable)}
    if what == "save":
        from torchkiln.training import state_files  # noqa: F401  # before the fork
    folder.mkdir(parents=True, exist_ok=True)
    print(json.dumps(kill_savers(folder, int(sys.argv[3]), *kinds[what])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
