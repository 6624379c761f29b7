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
        self._best_weights: state_files.Copies | None = None
        self._validated_at = -1
        self._columns: list[str] = []
        self._rows = 0
        self._shown = 0.0
        self._waiting: list[tuple[dict[str, Any], Any]] = []
        """Rows of steps.csv with losses not yet read from the device."""
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
        if isinstance(pl_module, KilnModule):
            loss = pl_module.step_loss  # of the whole batch, however many parts it was computed in
        stepped, self._step = step != self._step, step
        if stepped and step % self._every == 0 and self.writes:
            row = {"step": step, "epoch": trainer.current_epoch, "train_loss": None}
            self._waiting.append(({**row, **_rates(trainer)}, loss))
        if now - self._shown > SHOW_SECONDS:
            self._shown = now
            self._show(trainer, _number(loss), now)
            self.write_steps()

    def write_steps(self) -> None:
        """Write the rows of steps.csv so far; done by the clock, before what ends an epoch, and before a save."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self.run.append_rows("steps", [{**row, "train_loss": _number(loss)} for row, loss in waiting])

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.write_steps()

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
        self.write_steps()
        if not trainer.is_last_batch:  # else the epoch's end, which is next, has the row
            values = self._values(trainer, pl_module)
            self._keep_if_best(trainer, values)
            self._append(self._row(trainer, values))
            self._refuse(values, trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.write_steps()
        values = self._values(trainer, pl_module)
        if self._validated_at == trainer.global_step or self.monitor is None:
            self._keep_if_best(trainer, values)
        row = self._append(self._row(trainer, values))
        seconds = time.perf_counter() - self._epoch_begun
        timing = {"epoch": trainer.current_epoch, "seconds": seconds, "samples_per_second": self.samples / seconds,
                  "memory_mb": peak_memory_mb()}  # fmt: skip
        if self.writes:
            self.run.append_row("timings", timing)
        self.progress.epoch(row, timing)
        self._refuse(values, trainer)

    def _row(self, trainer: L.Trainer, values: Mapping[str, float | None]) -> dict[str, Any]:
        return {"epoch": trainer.current_epoch, "step": trainer.global_step, **values, **_rates(trainer)}

    def _append(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Add a row to metrics.csv, with what the columns before lack behind them."""
        new = [name for name in row if name not in self._columns]
        if new and self._columns and self.writes:
            self.run.write_rows("metrics", [*self._columns, *new], self.run.rows("metrics"))
        self._columns += new
        whole = {name: row.get(name) for name in self._columns}
        self._rows += 1
        if self.writes:
            self.run.append_row("metrics", whole)
        return whole

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
        self._best_weights = state_files.Copies(self.weights())

    def _refuse(self, values: Mapping[str, float | None], trainer: L.Trainer) -> None:
        """Stop where going on has no sense, or cannot tell better from worse.

        Raises:
            RunFailed: A loss is not finite, or the metric that early stopping or the plateau scheduler follows.
        """
        epoch = trainer.current_epoch
        bad = [k for k, v in values.items() if v is not None and not math.isfinite(v)]
        loss = next((k for k in bad if "loss" in k), None)
        if loss:
            raise RunFailed(f"{loss} is not finite in epoch {epoch}: lower optimizer.lr, set train.clip.norm, or set "
                            "train.precision to 32")  # fmt: skip
        followed: set[str | None] = {c.monitor for c in trainer.early_stopping_callbacks}
        followed |= {c.monitor for c in trainer.lr_scheduler_configs if c.reduce_on_plateau}
        lost = next((k for k in bad if k in followed), None)
        if lost:
            raise RunFailed(f"{lost} is not a number in epoch {epoch}, and early stopping or the plateau scheduler "
                            "follows it: set train.monitor to another metric")  # fmt: skip

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Where no validation gave a figure, the last weights are the ones to test, and the run says so."""
        if self.best:
            return
        self._keep(None, None, trainer.current_epoch - 1, trainer.global_step)
        if self.writes:
            self.run.event(
                "warning", f"there are no best weights by {self.monitor}: the last weights are tested", "warn"
            )

    # What a checkpoint holds

    def take_best(self) -> tuple[int, state_files.Copies] | None:
        """Step and copy of the best weights, if they are newer than those last taken."""
        taken, self._best_weights = self._best_weights, None
        return None if taken is None or not self.writes else (self.best["step"], taken)

    def forget_lost(self) -> None:
        """Seek the best weights anew where somebody removed those that were written."""
        if not (self.best and self.writes) or self._best_weights is not None:
            return
        if not checkpoints.named(self.run.path / "checkpoints", checkpoints.BEST, self.best["step"]).is_dir():
            self.run.end_promise(f"the best weights, of epoch {self.best['epoch']}, were removed while it ran; "
                                 "the best of what follows is taken")  # fmt: skip
            self.best = {}

    def state(self) -> dict[str, Any]:
        """What a resume needs, as plain data."""
        return {"best": self.best, "columns": [*self._columns], "rows": self._rows}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.best, self._columns, self._rows = dict(state["best"]), [*state["columns"]], state["rows"]


def last_step(run: RunDirectory) -> int:
    """The last optimizer step that a run's tables know of."""
    rows = [*run.rows("metrics")[-1:], *run.rows("steps")[-1:]]
    return max((int(row["step"]) for row in rows if row["step"]), default=0)


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
