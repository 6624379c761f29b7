"""What a run writes while it trains: rows of tables, the best weights, words to the display."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from torchkiln.errors import RunFailed
from torchkiln.runs import checkpoints
from torchkiln.runs.directory import RunDirectory
from torchkiln.runs.progress import Progress
from torchkiln.training import state_files
from torchkiln.training.module import KilnModule

BEST = "best"
STEP_ROWS = 500
"""About how many rows steps.csv gets."""
SHOW_SECONDS = 0.25


class Recorder(Checkpoint):
    """Keeps rows and the best weights. Lightning calls callbacks of this base class last.

    Args:
        run: Where to write.
        progress: Who shows it.
        weights: Gives the weights that validation used, by name.
        monitor: The metric that says which epoch is best; None: the last epoch is.
        higher_is_better: Its direction.
        samples: Training samples an epoch.
        writes: Whether this process is the one that writes files.
    """

    def __init__(
        self, run: RunDirectory, progress: Progress, weights: Callable[[], Mapping[str, Tensor]], *,
        monitor: str | None, higher_is_better: bool, samples: int, writes: bool = True,
    ) -> None:  # fmt: skip
        self.run, self.progress, self.weights, self.writes = run, progress, weights, writes
        self.monitor, self.higher_is_better, self.samples = monitor, higher_is_better, samples
        self.best: dict[str, Any] = {}
        """`value`, `epoch` and `step` of the best validation so far."""
        self._best_weights: dict[str, Tensor] | None = None
        self._validated_at = -1
        self._columns: list[str] | None = None
        self._shown = 0.0
        self._epoch_begun = time.perf_counter()

    # While it trains

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._steps = max(int(trainer.estimated_stepping_batches), 1)
        self._every = max(1, self._steps // STEP_ROWS)
        self._epoch_begun = self._begun = time.perf_counter()
        self._first_step = self._step = trainer.global_step
        self.progress.start(trainer.max_epochs or 0, self._steps)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._epoch_begun = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step, now = trainer.global_step, time.perf_counter()
        loss = outputs["loss"] if isinstance(outputs, Mapping) and "loss" in outputs else outputs
        stepped, self._step = step != self._step, step
        if stepped and step % self._every == 0 and self.writes:
            row = {"step": step, "epoch": trainer.current_epoch, "train_loss": _number(loss)}
            self.run.append_row("steps", {**row, **_rates(trainer)})
        if now - self._shown > SHOW_SECONDS:
            self._shown = now
            self._show(trainer, _number(loss), now)

    def _show(self, trainer: L.Trainer, loss: float | None, now: float) -> None:
        done = max(trainer.global_step - self._first_step, 1)
        pace = (now - self._begun) / done
        batches = max(trainer.num_training_batches / trainer.accumulate_grad_batches, 1)
        values = {
            "loss": float("nan") if loss is None else loss,
            "samples_per_second": self.samples / batches / pace,
            "seconds_left": max(self._steps - trainer.global_step, 0) * pace,
        }
        self.progress.step(trainer.current_epoch, trainer.global_step, values)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._validated_at = trainer.global_step

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        values = self._values(trainer, pl_module)
        if self._validated_at == trainer.global_step or self.monitor is None:
            self._keep_if_best(trainer, values)
        row = {"epoch": trainer.current_epoch, "step": trainer.global_step, **values, **_rates(trainer)}
        if self._columns is None:
            self._columns = list(row)
        row = {name: row.get(name) for name in self._columns}
        seconds = time.perf_counter() - self._epoch_begun
        timing = {"epoch": trainer.current_epoch, "seconds": seconds, "samples_per_second": self.samples / seconds,
                  "memory_mb": peak_memory_mb()}  # fmt: skip
        if self.writes:
            self.run.append_row("metrics", row)
            self.run.append_row("timings", timing)
        self.progress.epoch(row, timing)
        _refuse_nan(values, trainer.current_epoch)

    def _values(self, trainer: L.Trainer, module: L.LightningModule) -> dict[str, float | None]:
        """The epoch's losses and metrics; None for those of validation where there was none."""
        logged = {k: float(v) for k, v in trainer.callback_metrics.items()}
        if isinstance(module, KilnModule):
            fresh = self._validated_at == trainer.global_step
            logged_now = {k: v if fresh else None for k, v in logged.items()}
            return {"train_loss": module.train_loss(), **logged_now}
        return dict(logged)

    def _keep_if_best(self, trainer: L.Trainer, values: Mapping[str, float | None]) -> None:
        value = values.get(self.monitor) if self.monitor else None
        if self.monitor and value is None:
            raise RunFailed(f"train.monitor: the module logged no {self.monitor!r}; it logged "
                            f"{', '.join(values) or 'nothing'}")  # fmt: skip
        old = self.best.get("value")
        better = old is None or value is None or (value > old if self.higher_is_better else value < old)
        if better and (value is None or math.isfinite(value)):
            self._keep(self.monitor, value, trainer.current_epoch, trainer.global_step)

    def _keep(self, metric: str | None, value: float | None, epoch: int, step: int) -> None:
        """Copy the weights in memory: writing each time would cost more than the epoch of a small net."""
        self.best = {"metric": metric, "value": value, "epoch": epoch, "step": step}
        self._best_weights = {k: v.detach().to("cpu", copy=True) for k, v in self.weights().items()}

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Where no validation gave a figure, the last weights are the ones to test, and the run says so."""
        if self.best:
            return
        self._keep(None, None, trainer.current_epoch - 1, trainer.global_step)
        if self.writes:
            self.run.event("warning", f"no epoch has a finite {self.monitor}: the last weights are tested", "warn")

    # The best weights on disk

    def write_best(self) -> None:
        """Write the best weights, if they are newer than what is on disk, and drop the ones before."""
        if self._best_weights is None or not self.writes:
            return
        tensors, folder = self._best_weights, self.run.path / "checkpoints"
        checkpoints.write(
            folder, f"{BEST}-{self.best['step']:08d}",
            lambda path: state_files.save_tensors(tensors, path / "weights.safetensors"),
        )  # fmt: skip
        self._best_weights = None
        # The one before stays until the next: the newest state on disk may still name it.
        checkpoints.keep_newest(folder, BEST, 2)

    def state(self) -> dict[str, Any]:
        """What a resume needs, as plain data."""
        return {"best": self.best, "columns": self._columns}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.best, self._columns = dict(state["best"]), state["columns"]


def peak_memory_mb() -> float:
    """Peak memory so far, in MiB: of the GPU where one is used, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _rates(trainer: L.Trainer) -> dict[str, float]:
    """The learning rate of each parameter group: `lr`, `lr_1`, ..."""
    groups = [g for o in trainer.optimizers for g in o.param_groups]
    return {"lr" if i == 0 else f"lr_{i}": float(g["lr"]) for i, g in enumerate(groups)}


def _number(loss: Any) -> float | None:
    return float(loss.detach()) if isinstance(loss, Tensor) else None


def _refuse_nan(values: Mapping[str, float | None], epoch: int) -> None:
    bad = [k for k, v in values.items() if "loss" in k and v is not None and not math.isfinite(v)]
    if bad:
        raise RunFailed(f"{bad[0]} is not finite in epoch {epoch}: lower optimizer.lr, set train.clip.norm, or set "
                        "train.precision to 32")  # fmt: skip
