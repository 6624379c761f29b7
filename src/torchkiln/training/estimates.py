"""What a run will take: time, memory, room on the disk."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from torchkiln.recipe.schema import Recipe
from torchkiln.recipe.training import seconds

KEPT = 2
"""Checkpoints with the whole state that a run keeps; the best weights come on top, once more while they are written."""


@dataclass(frozen=True)
class Need:
    """Bytes that training takes.

    Args:
        weights: Parameters and buffers.
        gradients: Of what trains.
        states: Of the optimizer.
        activations: For each sample, what is kept for the backward and what comes and goes with it.
    """

    weights: int
    gradients: int
    states: int
    activations: int

    def step(self, samples: int) -> int:
        """What a step on so many samples takes beside the weights."""
        return self.gradients + self.states + samples * self.activations


@dataclass(frozen=True)
class Extent:
    """How long a run is, as far as its recipe says.

    Args:
        batches: Training batches in all.
        most_seconds: The recipe's wall-clock budget, or None.
        kept: Checkpoints that `train.keep_every` keeps for good.
    """

    batches: int
    most_seconds: float | None = None
    kept: int = 0

    @classmethod
    def of(cls, recipe: Recipe, samples: int) -> Extent:
        """The extent of a run over so many training samples."""
        train = recipe.train
        epoch = -(-samples // ((train.batch_size or 32) * train.devices))
        epoch = min(epoch, train.limit_batches or epoch)
        batches = epoch * (train.epochs or 1)
        if train.steps:
            batches = min(batches, train.steps * train.accumulate) if train.epochs else train.steps * train.accumulate
        kept = batches // train.accumulate // train.keep_every if train.keep_every else 0
        return cls(batches, seconds(train.max_time) if train.max_time else None, kept)

    def seconds(self, batch: float) -> float:
        """Of the whole run, where a batch takes so many."""
        taken = self.batches * batch
        return taken if self.most_seconds is None else min(taken, self.most_seconds)


@dataclass(frozen=True)
class Estimates:
    """Of a run before it begins: training without its validations, and without what else the machine does.

    Args:
        steps: Optimizer steps.
        step_seconds: Of a batch: its step, and reading it where no worker does.
        train_seconds: Of all of them, and of compiling.
        peak_memory_bytes: Of the process, or of the device.
        checkpoint_bytes: One checkpoint with all that is needed to go on.
        disk_bytes: All that are kept.
    """

    steps: int
    step_seconds: float
    train_seconds: float
    peak_memory_bytes: int
    checkpoint_bytes: int
    disk_bytes: int


def estimated(
    recipe: Recipe, extent: Extent, need: Need, *, batch_seconds: float, compile_seconds: float, samples: int
) -> Estimates:
    """The estimates of a run.

    Args:
        recipe: Resolved.
        extent: Of the run.
        need: Of memory.
        batch_seconds: Step and fetch.
        compile_seconds: Before the first step.
        samples: Computed at once.
    """
    averaged = need.weights if recipe.train.ema or recipe.train.swa is not None else 0
    checkpoint = need.weights + need.states + averaged
    process = need.weights if recipe.train.device == "cuda" else psutil.Process().memory_info().rss
    return Estimates(
        steps=extent.batches // recipe.train.accumulate,
        step_seconds=batch_seconds,
        train_seconds=extent.seconds(batch_seconds) + compile_seconds,
        peak_memory_bytes=process + need.step(samples),
        checkpoint_bytes=checkpoint,
        disk_bytes=(KEPT + extent.kept) * checkpoint + 2 * need.weights,
    )
