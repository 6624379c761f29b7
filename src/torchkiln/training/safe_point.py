"""The one place where a run is saved and may stop: the top of a step, before anything of it has begun.

By then all that the step before set off is over: optimizer, schedulers, validation, early stopping, rows,
the best weights. So when checkpoints are taken is no part of the result, and their interval may follow the
clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as L
import torch
import torch.distributed as dist
from torch import Tensor

from torchkiln.data.order import TrainOrder
from torchkiln.data.replayed import Replayed
from torchkiln.runs import checkpoints
from torchkiln.runs.checkpoints import STEP
from torchkiln.runs.decisions import Decision, Decisions
from torchkiln.runs.directory import RunDirectory
from torchkiln.training import lightning_state
from torchkiln.training.module import KilnModule
from torchkiln.training.processes import gathered, warm_up
from torchkiln.training.recorder import Recorder
from torchkiln.training.recovery import At
from torchkiln.training.run_state import OURS, RunStateIO, flags, lay_out_again, set_flags
from torchkiln.training.seeding import seed_all
from torchkiln.training.signals import Signals, Stopped

INTERVAL_SECONDS = 30.0
LONGEST_INTERVAL = 600.0
WRITES_APART = 100
"""The interval is at least this many times what a write takes, so that saving costs at most 1 %."""


@dataclass(frozen=True)
class Saving:
    """When a run saves and ends.

    Args:
        every: Steps between two checkpoints; None goes by the clock.
        budget: Seconds of training after which the run stops; None for no bound.
        before: Called before a save, and stops it by raising where the weights are no longer good.
    """

    every: int | None = None
    budget: float | None = None
    before: Callable[[L.Trainer], None] = lambda trainer: None


class SafePoint(L.Callback):
    """Seeds each step, saves at safe points, stops when asked. Must be the first callback.

    Args:
        run: Where checkpoints go.
        recorder: Holds the best weights, which are saved with the state.
        io: Writes them; the trainer's own checkpoint plugin.
        decisions: What the run decided so far.
        order: The training order, which a resume sets to its place; None where there is none to set.
        seed: The run's seed.
        saving: When.
        resume: The state to go on from, as `run_state.go_back` gives it.
    """

    def __init__(
        self, run: RunDirectory, recorder: Recorder, io: RunStateIO, decisions: Decisions, *,
        order: TrainOrder | Replayed | None, seed: int, saving: Saving, resume: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.run, self.recorder, self.io, self.decisions = run, recorder, io, decisions
        self.order, self.seed, self.saving, self.resume = order, seed, saving, resume
        self.elapsed: float = resume["elapsed"] if resume else 0.0
        """Training seconds so far, over all lives of the run."""
        self.at = At()
        """The last step that began."""
        self._signals = Signals()
        self._state: dict[str, Any] | None = None
        self._begun = self._saved = time.perf_counter()

    # The life of a fit

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        lightning_state.check(trainer)
        self._obey_skips(pl_module)
        if self.resume:
            set_flags(self.resume["flags"])
            lightning_state.preset_epoch(trainer, self.resume["lightning"])
            if self.order is not None:
                self.order.start_at(self.resume["lightning"]["epoch"], self.resume["lightning"]["batch"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        warm_up(trainer)
        if self.resume:
            lay_out_again(trainer)
            trainer.should_stop = self.resume["lightning"]["should_stop"]  # a fit that was over begins no epoch
            ranks = self.resume["ranks"]
            # with exact: elastic there may be more processes now, and all hold the same
            mine = ranks[min(trainer.global_rank, len(ranks) - 1)]
            state = {**self.resume["lightning"], **mine["lightning"]}
            lightning_state.restore_once(trainer, state, then=lambda: self._restore(pl_module, mine))
        self._begun = self._saved = time.perf_counter()
        self._signals.listen()

    def _restore(self, module: L.LightningModule, mine: dict[str, Any]) -> None:
        if "train_totals" in mine:
            module.train_totals = mine["train_totals"].to(module.train_totals.device)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        seed_all(self.seed, "epoch", trainer.current_epoch)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.at = self.at._replace(validating=True)
        seed_all(self.seed, "val", trainer.global_step)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.at = At(trainer.current_epoch, batch_idx, trainer.global_step)
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._at_safe_point(trainer, batch_idx)
        seed_all(self.seed, "step", trainer.current_epoch, batch_idx)

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        if isinstance(self.order, TrainOrder) and pl_module.automatic_optimization and not _by_shards(pl_module):
            scale = self.order.scale(self.at.batch)
            if scale != 1.0:
                loss.mul_(scale)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._signals.leave()
        vars(pl_module).pop("training_step", None)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "fit")  # which Lightning leaves out then

    def _obey_skips(self, module: L.LightningModule) -> None:
        """Give Lightning no loss for a batch that was decided to be left out."""
        if not any(d.kind == "skip_batch" for d in self.decisions.made):
            return
        real = module.training_step

        def training_step(*args: Any, **kwargs: Any) -> Any:
            return None if self.decisions.skips(self.at.epoch, self.at.batch) else real(*args, **kwargs)

        vars(module)["training_step"] = training_step  # on this instance, until the fit is over

    # The safe point

    def _at_safe_point(self, trainer: L.Trainer, batch: int) -> None:
        self.io.check()
        over_budget, stop, by_clock = self._agreed(trainer)
        step = trainer.global_step
        if over_budget and self.decisions.stop_at() is None:
            text = f"the time budget is used up; training ends after step {step + 1}"
            self.decisions.add(Decision("stop", step, text))
        if stop or self._is_due(batch, step, by_clock):
            self.save(trainer, batch)
        if stop:
            self.io.wait()
            raise Stopped(stop, step, self.run.path)
        self._apply(trainer, step)  # behind the save: a life that begins here still has this step before it

    def _apply(self, trainer: L.Trainer, step: int) -> None:
        stop_at = self.decisions.stop_at()
        if stop_at is not None and step >= stop_at and not trainer.should_stop:
            trainer.should_stop = True
            if self.recorder.writes:
                text = next(d.text for d in self.decisions.made if d.kind == "stop")
                self.run.event("decision", text, step=step)

    def _agreed(self, trainer: L.Trainer) -> tuple[bool, int, bool]:
        """Whether the time is up, which signal came, whether a save is due: the first process says so for all."""
        now = time.perf_counter()
        spent = self.elapsed + now - self._begun
        interval = min(max(INTERVAL_SECONDS, WRITES_APART * self.io.background.seconds), LONGEST_INTERVAL)
        asked = (self.saving.budget is not None and spent > self.saving.budget, self._signals.asked or 0,
                 now - self._saved > interval)  # fmt: skip
        if trainer.world_size > 1:
            told = torch.tensor(asked, dtype=torch.float64, device=trainer.strategy.root_device)
            dist.broadcast(told, 0)
            asked = bool(told[0]), int(told[1]), bool(told[2])
        return asked

    def _is_due(self, batch: int, step: int, by_clock: bool) -> bool:
        if step == 0 and batch == 0 and self.resume is None:
            return True  # weights of a person's own are no function of the seed, and a full disk shows early
        return step % self.saving.every == 0 and step > 0 if self.saving.every else by_clock

    def save(self, trainer: L.Trainer, batch: int) -> None:
        """Copy the recoverable state and have it written; the newest two are kept.

        Args:
            batch: The batch in the epoch that a resume begins with.
        """
        self.saving.before(trainer)
        now = time.perf_counter()
        self.elapsed += now - self._begun
        self._begun = self._saved = now
        self.io.wait()  # one at a time
        self.recorder.write_steps()
        self.recorder.forget_lost()
        self.io.best = self.recorder.take_best()
        self._state = self._collect(trainer, batch)
        trainer.save_checkpoint(checkpoints.named(self.run.path / "checkpoints", STEP, trainer.global_step))

    def _collect(self, trainer: L.Trainer, batch: int) -> dict[str, Any]:
        return {
            "step": trainer.global_step,
            "lightning": lightning_state.capture(trainer, batch),
            "ranks": _by_rank(trainer),
            "elapsed": self.elapsed,
            "recorder": self.recorder.state(),
            "sizes": self.run.sizes(),
            "world": trainer.world_size,
            "flags": flags(),
        }

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        state, self._state = self._state, None
        if state is not None:  # else it is a checkpoint of the person's own
            checkpoint[OURS] = state
            checkpoint.pop("loops", None)


def _by_shards(module: L.LightningModule) -> bool:
    """Whether each part of the batch brings its own weight."""
    return isinstance(module, KilnModule) and module.shards is not None


def _by_rank(trainer: L.Trainer) -> list[dict[str, Any]]:
    """What each process has accumulated in this epoch, by rank."""
    module = trainer.lightning_module
    mine: dict[str, Any] = {"lightning": lightning_state.capture_metrics(module)}
    totals = getattr(module, "train_totals", None)
    if totals is not None:
        mine["train_totals"] = totals
    return gathered(mine, trainer.world_size)
