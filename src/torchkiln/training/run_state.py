"""A run's recoverable state on disk: what Lightning gathers and ours beside it, written from a copy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.plugins.io import CheckpointIO, TorchCheckpointIO
from torch import Tensor

from torchkiln.errors import RunError, RunFailed
from torchkiln.runs import checkpoints
from torchkiln.runs.background import Background
from torchkiln.runs.checkpoints import BEST, STEP
from torchkiln.runs.directory import FULL_DISK, RECIPE, RunDirectory
from torchkiln.training import state_files

KEEP = 2
OURS = "torchkiln"
"""Key of our own state in Lightning's dict."""


class RunStateIO(CheckpointIO):
    """Lightning's checkpoints without pickle where they are ours; a person's own ones as Lightning does.

    Training waits for a copy only; a thread writes it.

    Args:
        run: Whose checkpoints.
        keep_every: Steps between two that are kept for good; None keeps none.
    """

    def __init__(self, run: RunDirectory, keep_every: int | None = None) -> None:
        self.run, self.keep_every = run, keep_every
        self.background = Background()
        self.best: tuple[int, state_files.Copies] | None = None
        """Step and copy of the best weights that wait to be written with the next state."""
        self.loaded: tuple[Path, dict[str, Any]] | None = None
        """What was read already of a checkpoint that Lightning will ask for."""
        self._others = TorchCheckpointIO()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if OURS not in checkpoint:
            return self._others.save_checkpoint(checkpoint, path, storage_options)
        weights = state_files.Copies(checkpoint["state_dict"])
        rest = state_files.Snapshot({k: v for k, v in checkpoint.items() if k != "state_dict"}, "state")
        best, self.best = self.best, None
        folder, spoken_of = Path(path).parent, checkpoint[OURS]["recorder"]["best"].get("step")
        # what is kept of it elsewhere is of no use without the best weights that it speaks of
        needs = [] if spoken_of is None else [checkpoints.named(folder, BEST, spoken_of).name]

        def fill(to: Path) -> None:
            weights.write(to / "weights.safetensors")
            rest.write(to)

        def work() -> None:
            if best is not None:
                step, copies = best
                name = checkpoints.named(folder, BEST, step).name
                checkpoints.write(folder, name, lambda to: copies.write(to / "weights.safetensors"), size=copies.bytes)
            checkpoints.write(folder, Path(path).name, fill, needs=needs, size=weights.bytes + rest.bytes)
            checkpoints.keep_newest(folder, STEP, KEEP, spare=self._spared)
            # The best weights before stay until the next: the older state still names them.
            checkpoints.keep_newest(folder, BEST, KEEP)

        self.background.start(work)
        return None

    def _spared(self, step: int) -> bool:
        return bool(self.keep_every) and step > 0 and step % self.keep_every == 0  # type: ignore[operator]

    def wait(self) -> None:
        """Until what is being written is on disk.

        Raises:
            RunFailed: It could not be written; the checkpoints before are whole.
        """
        self._telling(self.background.join)

    def finish(self) -> None:
        """Wait for the last write whatever came of it: a life that failed must leave its files alone."""
        with contextlib.suppress(checkpoints.NotWritten):
            self.background.join()

    def check(self) -> None:
        """Raise if the last write failed, as `wait` does; waits for nothing."""
        self._telling(self.background.check)

    def _telling(self, ask: Callable[[], None]) -> None:
        try:
            ask()
        except checkpoints.NotWritten as error:
            raise RunFailed(_not_saved(self.run.path, error)) from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        loaded, self.loaded = self.loaded, None
        if loaded is not None and loaded[0] == Path(path):
            return loaded[1]
        if Path(path).is_dir():
            return load(Path(path))
        return self._others.load_checkpoint(path, map_location, weights_only)

    def remove_checkpoint(self, path: Any) -> None:
        self._others.remove_checkpoint(path)


def load(folder: Path) -> dict[str, Any]:
    """A run's checkpoint as Lightning's dict, with our own state under `torchkiln`."""
    state: dict[str, Any] = state_files.load(folder, "state")
    return {**state, "state_dict": state_files.load_tensors(folder / "weights.safetensors")}


def go_back(run: RunDirectory, writes: bool = True) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that is whole, with the run's files cut back to what they were then.

    Args:
        run: The run.
        writes: Whether this process is the one that writes files.

    Returns:
        Its folder and its content; None where there is none, and the run begins anew.

    Raises:
        RunError: There are checkpoints, and none is whole.
    """
    damaged: list[str] = []
    newest = checkpoints.newest(run.path / "checkpoints", STEP, damaged.append)
    if newest is None:
        if damaged:
            raise RunError(f"{damaged[0]}, and no other is whole; put one back, or begin anew: torchkiln fit "
                           f"{run.path / RECIPE}")  # fmt: skip
        if writes:
            checkpoints.sweep(run.path / "checkpoints", BEST, after=-1)
            run.truncate({"events.jsonl": (run.path / "events.jsonl").stat().st_size} if run.events() else {})
        return None
    whole = load(newest)
    _tell_damage(run, newest, whole[OURS], damaged, writes)
    if writes:
        _cut_back(run, newest, whole[OURS])
    return newest, whole


def _cut_back(run: RunDirectory, newest: Path, state: dict[str, Any]) -> None:
    columns, rows = state["recorder"]["columns"], run.rows("metrics")
    if rows and [*rows[0]] != columns:  # the table has got more columns since then
        run.write_rows("metrics", columns, rows[: state["recorder"]["rows"]])
    run.truncate(state["sizes"])
    checkpoints.sweep(newest.parent, STEP, after=int(newest.name.rpartition("-")[2]))
    checkpoints.sweep(newest.parent, BEST, after=state["recorder"]["best"].get("step", -1))


def _tell_damage(run: RunDirectory, newest: Path, state: dict[str, Any], damaged: list[str], writes: bool) -> None:
    """Say what was passed by; and where the best weights are lost, go on to find the best of what follows."""
    for text in damaged if writes else []:
        run.event("resume", f"{text}; going on from {newest.name}", "warn")
    best = state["recorder"]["best"]
    if damaged and best and not checkpoints.is_whole(checkpoints.named(newest.parent, BEST, best["step"])):
        state["recorder"]["best"] = {}
        if writes:
            run.end_promise(f"the best weights, of epoch {best['epoch']}, were damaged; the best are sought from step "
                            f"{int(newest.name[-8:])} on")  # fmt: skip


def lay_out_again(trainer: L.Trainer) -> None:
    """Give each optimizer state the memory layout of its parameter.

    Files keep no strides, and a fused kernel given a contiguous moment beside a channels_last weight mixes
    up their elements without a word.
    """
    for optimizer in trainer.optimizers:
        for parameter, state in optimizer.state.items():
            for name, value in state.items():
                laid_out = isinstance(value, Tensor) and value.stride() == parameter.stride()
                if isinstance(value, Tensor) and value.shape == parameter.shape and not laid_out:
                    state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def flags() -> dict[str, Any]:
    """Settings of this process that change the bits of a result, beside those of the recipe."""
    return {"matmul_precision": torch.get_float32_matmul_precision(), "cudnn_benchmark": torch.backends.cudnn.benchmark}


def set_flags(wanted: Mapping[str, Any]) -> None:
    """Set what `flags` gave."""
    torch.set_float32_matmul_precision(wanted["matmul_precision"])
    torch.backends.cudnn.benchmark = wanted["cudnn_benchmark"]


def _not_saved(run: Path, error: checkpoints.NotWritten) -> str:
    last = checkpoints.newest(run / "checkpoints", STEP)
    why = "the disk is full, or a quota is used up" if error.errno in FULL_DISK else error.strerror
    room = f"make room for {error.needed:,} bytes" if error.errno in FULL_DISK else "mend that"
    rest = f"the checkpoint {last.name} is whole; {room}, then: torchkiln fit --resume {run}" if last else \
        f"no earlier checkpoint exists; {room} and start again"  # fmt: skip
    return f"{error.folder}: the checkpoint could not be written, after several tries: {why}; {rest}"
