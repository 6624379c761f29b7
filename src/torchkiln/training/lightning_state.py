"""What Lightning holds about a running fit beside its checkpoint: read at a safe point, written back once.

The only module that touches Lightning's private fields. Lightning's own restart logic is never woken: it
guesses from counters where a checkpoint was taken, and skips or repeats validation and schedulers. Here the
checkpoint is always taken at the top of a step, and a resume writes the counters of that instant back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning
import lightning.pytorch as L

from torchkiln.errors import RunFailed

PROGRESS = {
    "batch": "batch_progress",
    "scheduler": "scheduler_progress",
    "optimizer": "automatic_optimization.optim_progress",
    "manual": "manual_optimization.optim_step_progress",
    "val_batch": "val_loop.batch_progress",
}
FIELDS = ("fit_loop.epoch_progress", "fit_loop.epoch_loop._batches_that_stepped",
          "_logger_connector._callback_metrics", "_logger_connector._logged_metrics",
          "_logger_connector._first_loop_iter",
          *(f"fit_loop.epoch_loop.{path}" for path in PROGRESS.values()))  # fmt: skip


def check(trainer: L.Trainer) -> None:
    """All private fields are where this module expects them.

    Raises:
        RunFailed: One is missing; exact resume would be silently lost.
    """
    for path in FIELDS:
        try:
            _at(trainer, path)
        except AttributeError:
            raise RunFailed(
                f"Lightning {lightning.__version__} has no Trainer.{path}, which exact resume needs; "
                "install lightning>=2.6,<2.7"
            ) from None


def capture(trainer: L.Trainer, batch: int) -> dict[str, Any]:
    """The state at the top of a step, as JSON-ready data and tensors.

    Called in `on_train_batch_start`, after Lightning has counted the batch as begun.

    Args:
        batch: Index of the batch in its epoch, which is the first one that a resume will run.
    """
    loop = trainer.fit_loop.epoch_loop
    progress = {name: _at(loop, path).state_dict() for name, path in PROGRESS.items()}
    for part in ("total", "current"):
        progress["batch"][part]["ready"] = progress["batch"][part]["completed"]
    progress["batch"]["is_last_batch"] = False
    connector = trainer._logger_connector
    return {
        "progress": progress,
        "epoch_progress": trainer.fit_loop.epoch_progress.state_dict(),
        "epoch": trainer.current_epoch,
        "batch": batch,
        "batches_that_stepped": loop._batches_that_stepped,
        "callback_metrics": {k: v.clone() for k, v in connector._callback_metrics.items()},
        "logged_metrics": {k: v.clone() for k, v in connector._logged_metrics.items()},
        # As it was before this batch: else the first log after a resume wipes the epoch's aggregate.
        "first_loop_iter": None if batch == 0 else batch == 1,
    }


def preset_epoch(trainer: L.Trainer, state: dict[str, Any]) -> None:
    """Before the fit begins: as many epochs are over as the state says."""
    epoch = state["epoch"]
    progress = trainer.fit_loop.epoch_progress
    for part in (progress.total, progress.current):
        part.load_state_dict({"ready": epoch, "started": epoch, "processed": epoch, "completed": epoch})
    _load_progress(trainer, state)


def restore_once(trainer: L.Trainer, state: dict[str, Any], then: Callable[[], None]) -> None:
    """Write the state back when the first epoch of this life has been reset by Lightning.

    Args:
        then: Called after that, for what is not Lightning's.
    """
    loop = trainer.fit_loop.epoch_loop
    real_reset = loop.reset

    def reset_then_restore() -> None:
        del loop.reset  # the instance's; the class's own is back
        real_reset()
        _load_progress(trainer, state)
        loop._batches_that_stepped = state["batches_that_stepped"]
        connector = trainer._logger_connector
        connector._callback_metrics.update(state["callback_metrics"])
        connector._logged_metrics.update(state["logged_metrics"])
        connector._first_loop_iter = state["first_loop_iter"]
        then()

    loop.reset = reset_then_restore  # type: ignore[method-assign]


def _load_progress(trainer: L.Trainer, state: dict[str, Any]) -> None:
    for name, path in PROGRESS.items():
        _at(trainer.fit_loop.epoch_loop, path).load_state_dict(state["progress"][name])


def _at(root: Any, path: str) -> Any:
    for name in path.split("."):
        root = getattr(root, name)
    return root
