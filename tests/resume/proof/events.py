"""Everything that happens in a life of a run, numbered as it happens; the life ends at one of the numbers.

There are three sequences, each numbered for itself, because checkpoints may be written in a thread: `loop` is
what Lightning calls, `write` what is done to the folders of checkpoints, `stage` what is done to the other files
of a run.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Checkpoint

SEQUENCES = ("loop", "write", "stage")


class Events:
    """Counts what happens, and kills this process at one of the events.

    Args:
        sequence, at: Where to die; None lets the life go on to its end.
    """

    def __init__(self, sequence: str | None = None, at: int | None = None) -> None:
        self.sequence, self.at = sequence, at
        self.names: dict[str, list[str]] = {name: [] for name in SEQUENCES}
        self._lock = threading.Lock()

    def happens(self, sequence: str, name: str, dying: Callable[[], Any] | None = None) -> None:
        """Number an event.

        Args:
            sequence: One of `SEQUENCES`.
            name: What it is.
            dying: What the kill leaves behind, such as half a file.
        """
        with self._lock:
            number = len(self.names[sequence])
            self.names[sequence].append(name)
            if (sequence, number) == (self.sequence, self.at):
                if dying is not None:
                    dying()
                os.kill(os.getpid(), signal.SIGKILL)


class _Watch:
    """Hooks of Lightning as events; `where` says on which side of the run's own callbacks they stand."""

    def __init__(self, events: Events, where: str) -> None:
        self.events, self.where = events, where

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _watched(name: str) -> Callable[..., None]:
    def hook(self: Any, *_: Any, **__: Any) -> None:
        self.events.happens("loop", f"{self.where} {name}")

    return hook


FIRST = ("setup", "on_train_start", "on_train_epoch_start", "on_train_batch_start", "on_train_batch_end",
         "on_validation_start", "on_validation_end", "on_train_epoch_end", "on_train_end")  # fmt: skip
LAST = (*FIRST, "on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step",
        "on_validation_batch_end")  # fmt: skip
Before = type("Before", (_Watch, L.Callback), {name: _watched(name) for name in FIRST})
# Lightning calls callbacks of the base class Checkpoint last, and the run's recorder is one.
After = type("After", (_Watch, Checkpoint), {name: _watched(name) for name in LAST})


def watch_loop(events: Events, first: list[L.Callback]) -> None:
    """Stand around the callbacks of each fit to come, and inside the net's forward pass.

    Args:
        events: Count them.
        first: Callbacks that come before all others.
    """
    from torchkiln.training import fit

    build = fit.build_trainer

    def build_watched(recipe: Any, callbacks: list[L.Callback], *more: Any) -> L.Trainer:
        if not callbacks:
            return build(recipe, callbacks, *more)  # a test, not a fit
        around = [*first, Before(events, "before"), *callbacks, _InStep(events), After(events, "after")]
        return build(recipe, around, *more)

    fit.build_trainer = build_watched


class _InStep(L.Callback):
    """An event behind the net's forward pass, when Lightning has begun the step and nothing of it is stored."""

    def __init__(self, events: Events) -> None:
        self.events = events

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        part = next(m for name, m in pl_module.named_modules() if name and next(m.parameters(), None) is not None)
        if not getattr(pl_module, "compiled", ()):
            part.register_forward_hook(self._seen)

    def _seen(self, module: Any, *_: Any) -> None:
        if module.training:
            self.events.happens("loop", "in the step")


def watch_files(events: Events, run: Path) -> None:
    """Make what is done to the run's files events; `fsync` no longer waits, which no kill of a process shows."""
    real = {"rename": os.rename, "replace": os.replace, "rmtree": shutil.rmtree, "mkdir": Path.mkdir}

    def moved(move: Callable[..., None]) -> Callable[..., None]:
        def watched(source: Any, target: Any, **more: Any) -> None:
            sequence = _sequence(Path(target), run)
            if sequence:
                events.happens(sequence, f"before the rename to {Path(target).name}")
            move(source, target, **more)
            if sequence:
                events.happens(sequence, f"after the rename to {Path(target).name}")

        return watched

    def flush(descriptor: int) -> None:
        file = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if file.is_file() and file.parent.parent.name == "checkpoints":
            events.happens("write", f"half of {file.name}", lambda: os.truncate(file, file.stat().st_size // 2))
            events.happens("write", f"all of {file.name}")

    def made(path: Path, *arguments: Any, **more: Any) -> None:
        real["mkdir"](path, *arguments, **more)
        if path.parent.name == "checkpoints":
            events.happens("write", f"made {path.name.split('-')[0]}")

    def removed(path: Any, *arguments: Any, **more: Any) -> None:
        there = Path(path).parent.name == "checkpoints" and Path(path).exists()
        real["rmtree"](path, *arguments, **more)
        if there:
            events.happens("write", f"removed {Path(path).name}")

    os.rename, os.replace, os.fsync = moved(real["rename"]), moved(real["replace"]), flush
    shutil.rmtree, Path.mkdir = removed, made  # type: ignore[assignment,method-assign]


def _sequence(target: Path, run: Path) -> str | None:
    if target.parent == run / "checkpoints":
        return "write"
    return "stage" if target.parent == run else None
