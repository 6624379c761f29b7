"""The learning rate as it is planned, for the report to set beside what it was."""

from __future__ import annotations

import lightning.pytorch as L

from torchkiln.data.order import TrainOrder
from torchkiln.data.replayed import Replayed
from torchkiln.recipe.schema import Recipe
from torchkiln.runs.directory import RunDirectory
from torchkiln.training.module import KilnModule
from torchkiln.training.optimization import curve

CURVE_POINTS = 400


def write_schedule(
    module: L.LightningModule, order: TrainOrder | Replayed | None, recipe: Recipe, run: RunDirectory
) -> None:
    """The learning rate as planned, where it is a function of the step alone."""
    scheduler = recipe.scheduler
    planned = scheduler.name in (None, "auto", "cosine", "linear", "one_cycle", "constant")
    if not planned or scheduler.class_path or run.rows("schedule"):
        return
    if not isinstance(module, KilnModule) or not isinstance(order, TrainOrder):
        return
    steps = planned_steps(recipe, len(order))
    at = curve(scheduler, steps)
    rates = [float(group["lr"]) for group in module.make_optimizer().param_groups]
    names = ["lr" if i == 0 else f"lr_{i}" for i in range(len(rates))]
    every = max(1, -(-steps // CURVE_POINTS))
    rows = [",".join([str(s), *(repr(lr * at(s)) for lr in rates)]) for s in range(0, steps, every)]
    run.write_text("schedule.csv", "\n".join([",".join(["step", *names]), *rows]) + "\n")


def planned_steps(recipe: Recipe, batches: int) -> int:
    """Optimizer steps of the whole run, if nothing ends it early.

    Args:
        batches: Of one epoch.
    """
    batches = min(batches, recipe.train.limit_batches or batches)
    by_epochs = -(-batches // recipe.train.accumulate) * (recipe.train.epochs or 10**9)
    return min(by_epochs, recipe.train.steps or by_epochs)
