"""The one place where a run is saved and may stop: the top of a step, before anything of it has begun.

By then all that the step before set off is over: optimizer, schedulers, validation, early stopping, rows,
the best weights. So when checkpoints are taken is no part of the result, and their interval may follow the
clock.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
import torch.distributed as dist
from lightning.pytorch.plugins.io import CheckpointIO, TorchCheckpointIO
from safetensors import SafetensorError
from torch import Tensor

from torchkiln.data.order import TrainOrder
from torchkiln.errors import RunFailed
from torchkiln.runs import checkpoints
from torchkiln.runs.directory import FULL_DISK, RunDirectory
from torchkiln.training import lightning_state, state_files
from torchkiln.training.recorder import Recorder
from torchkiln.training.seeding import seed_all

PREFIX = "step"
KEEP = 2
INTERVAL_SECONDS = 30.0
WRITES_APART = 100
"""The interval is at least this many times what a write takes, so that saving costs at most 1 %."""


@dataclass
class Decisions:
    """What is no function of the step, and is therefore kept and repeated."""

    elapsed: float = 0.0
    """Training seconds so far, over all lives of the run."""
    stop_at: int | None = None
    """Step at which the time budget was found used up."""


class SafePoint(L.Callback):
    """Seeds each step, saves at safe points, stops when asked. Must be the first callback.

    Args:
        run: Where checkpoints go.
        recorder: Holds the best weights, which are saved with the state.
        order: The training order, which a resume sets to its place; None where it is not ours.
        seed: The run's seed.
        every: Steps between two checkpoints; None goes by the clock.
        budget: Seconds of training after which the run stops; None for no bound.
        only_between_epochs: The module logs averages of its own that a checkpoint inside an epoch would
            cut in two, so checkpoints by the clock wait for an epoch's first step.
        resume: The state to go on from, as `load` gives it.
    """

    def __init__(
        self, run: RunDirectory, recorder: Recorder, *, order: TrainOrder | None, seed: int, every: int | None,
        budget: float | None, only_between_epochs: bool = False, resume: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.run, self.recorder, self.order, self.seed = run, recorder, order, seed
        self.every, self.budget, self.only_between_epochs = every, budget, only_between_epochs
        self.resume = resume
        self.decisions = Decisions(**resume["decisions"]) if resume else Decisions()
        self.asked_to_stop: int | None = None
        self._interval = INTERVAL_SECONDS
        self._handlers: dict[int, Any] = {}
        self._batch = 0
        self._state: dict[str, Any] | None = None
        self._begun = self._saved = time.perf_counter()

    # The life of a fit

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        lightning_state.check(trainer)
        if self.resume:
            lightning_state.preset_epoch(trainer, self.resume["lightning"])
            if self.order is not None:
                self.order.start_at(self.resume["lightning"]["epoch"], self.resume["lightning"]["batch"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.resume:
            _lay_out_again(trainer)
            state = self.resume
            lightning_state.restore_once(trainer, state["lightning"], then=lambda: self._restore(pl_module, state))
        self._begun = self._saved = time.perf_counter()
        self._listen()

    def _restore(self, module: L.LightningModule, state: dict[str, Any]) -> None:
        if "train_totals" in state:
            module.train_totals = state["train_totals"].to(module.train_totals.device)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        seed_all(self.seed, "epoch", trainer.current_epoch)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        seed_all(self.seed, "val", trainer.global_step)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._batch = batch_idx
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._at_safe_point(trainer, batch_idx)
        seed_all(self.seed, "step", trainer.current_epoch, batch_idx)

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        if self.order is not None and pl_module.automatic_optimization:
            scale = self.order.scale(self._batch)
            if scale != 1.0:
                loss.mul_(scale)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    # The safe point

    def _at_safe_point(self, trainer: L.Trainer, batch: int) -> None:
        over_budget, stop = self._agreed(trainer)
        step = trainer.global_step
        if over_budget and self.decisions.stop_at is None:
            self.decisions.stop_at = step
            if self.recorder.writes:
                text = f"the time budget is used up; training ends after step {step + 1}"
                self.run.event("decision", text, step=step)
        elif not (stop or self._is_due(batch, step)):
            return self._apply(trainer)
        self.save(trainer, batch)
        if stop:
            raise Stopped(stop, step, self.run.path)
        return self._apply(trainer)

    def _apply(self, trainer: L.Trainer) -> None:
        if self.decisions.stop_at is not None and trainer.global_step >= self.decisions.stop_at:
            trainer.should_stop = True

    def _agreed(self, trainer: L.Trainer) -> tuple[bool, int]:
        """Whether the time is up and which signal came, the same on every process: the first one decides."""
        now = time.perf_counter()
        spent = self.decisions.elapsed + now - self._begun
        asked = torch.tensor([float(self.budget is not None and spent > self.budget), float(self.asked_to_stop or 0),
                              float(now - self._saved > self._interval)])  # fmt: skip
        if trainer.world_size > 1:
            asked = asked.to(trainer.strategy.root_device)
            dist.broadcast(asked, 0)
        self._due_by_clock = bool(asked[2])
        return bool(asked[0]), int(asked[1])

    def _is_due(self, batch: int, step: int) -> bool:
        if step == 0 and batch == 0 and self.resume is None:
            return True  # weights of a person's own are no function of the seed, and a full disk shows early
        if self.only_between_epochs and batch:
            return False
        return step % self.every == 0 and step > 0 if self.every else self._due_by_clock

    def save(self, trainer: L.Trainer, batch: int) -> None:
        """Write the recoverable state, and prune to the newest two.

        Raises:
            RunFailed: It could not be written; the checkpoints before are whole.
        """
        begun = time.perf_counter()
        self.decisions.elapsed += begun - self._begun
        self._begun = begun
        step = trainer.global_step
        folder = self.run.path / "checkpoints"
        try:
            self.recorder.write_best()
            self._state = self._collect(trainer, batch)
            trainer.save_checkpoint(folder / f"{PREFIX}-{step:08d}")
            checkpoints.keep_newest(folder, PREFIX, KEEP)
        except (OSError, SafetensorError) as error:
            raise RunFailed(_not_saved(self.run.path, step, error)) from error
        self._saved = time.perf_counter()
        self._interval = min(max(INTERVAL_SECONDS, WRITES_APART * (self._saved - begun)), 600.0)

    def _collect(self, trainer: L.Trainer, batch: int) -> dict[str, Any]:
        state = {
            "lightning": lightning_state.capture(trainer, batch),
            "decisions": asdict(self.decisions),
            "recorder": self.recorder.state(),
            "sizes": self.run.sizes(),
        }
        totals = getattr(trainer.lightning_module, "train_totals", None)
        return state if totals is None else {**state, "train_totals": totals}

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        state, self._state = self._state, None
        if state is not None:  # else it is a checkpoint of the person's own
            checkpoint["torchkiln"] = state
            checkpoint.pop("loops", None)

    # Signals

    def _listen(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        """The first asks for a stop at the next safe point; the second stops at once."""
        if self.asked_to_stop:
            raise KeyboardInterrupt
        self.asked_to_stop = number


class Stopped(RunFailed):
    """The person asked for a stop, and the run was saved.

    Args:
        number: The signal.
        step: Where.
        run: The run directory.
    """

    def __init__(self, number: int, step: int, run: Path) -> None:
        self.exit_code = 143 if number == signal.SIGTERM else 1  # type: ignore[misc]
        super().__init__(f"stopped at step {step}, and saved; go on with: torchkiln fit --resume {run}")


class RunStateIO(CheckpointIO):
    """Lightning's checkpoints without pickle where they are ours; a person's own ones as Lightning does."""

    def __init__(self) -> None:
        self._others = TorchCheckpointIO()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if "torchkiln" not in checkpoint:
            return self._others.save_checkpoint(checkpoint, path, storage_options)
        path = Path(path)
        checkpoints.write(path.parent, path.name, _writer(checkpoint))
        return None

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        if Path(path).is_dir():
            return load(Path(path))
        return self._others.load_checkpoint(path, map_location, weights_only)

    def remove_checkpoint(self, path: Any) -> None:
        self._others.remove_checkpoint(path)


def load(folder: Path) -> dict[str, Any]:
    """A run's checkpoint as Lightning's dict, with our own state under `torchkiln`."""
    state: dict[str, Any] = state_files.load(folder, "state")
    return {**state, "state_dict": state_files.load_tensors(folder / "weights.safetensors")}


def _writer(checkpoint: dict[str, Any]) -> Callable[[Path], None]:
    rest = {k: v for k, v in checkpoint.items() if k != "state_dict"}

    def write(folder: Path) -> None:
        state_files.save_tensors(checkpoint["state_dict"], folder / "weights.safetensors")
        state_files.save(rest, folder, "state")

    return write


def _lay_out_again(trainer: L.Trainer) -> None:
    """Give each optimizer state the memory layout of its parameter.

    Files keep no strides, and a fused kernel given a contiguous moment beside a channels_last weight mixes
    up their elements without a word.
    """
    for optimizer in trainer.optimizers:
        for parameter, state in optimizer.state.items():
            for name, value in state.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _not_saved(run: Path, step: int, error: Exception) -> str:
    last = checkpoints.newest(run / "checkpoints", PREFIX)
    full = isinstance(error, OSError) and error.errno in FULL_DISK
    full = full or any(f"os error {number})" in str(error) for number in FULL_DISK)  # as safetensors says it
    why = "the disk is full, or a quota is used up" if full else str(error)
    rest = f"the checkpoint {last.name} is whole; make room, then: torchkiln fit --resume {run}" if last else \
        "no earlier checkpoint exists"  # fmt: skip
    return f"{run / 'checkpoints'}: the checkpoint of step {step} could not be written: {why}; {rest}"
