"""A short stretch of a training, trained as a run would, and what bounds it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from torchkiln.recipe.schema import Recipe
from torchkiln.runs import environment
from torchkiln.runs.directory import RunDirectory
from torchkiln.runs.progress import Progress
from torchkiln.training import fit as training
from torchkiln.training import peaks, probe, settings
from torchkiln.training.bound import Step, next_step, shares
from torchkiln.training.operations import Machine, Work, cost_of_watching, median_work

SHOWN = 5
"""Parts beside the net that are named with their time."""


def profile(
    job: training.Job, recipe: Recipe, decisions: Sequence[Mapping[str, Any]], trace: Path | None, progress: Progress
) -> dict[str, Any]:
    """Train a stretch in a directory that is removed again, and say what bounds it.

    Args:
        job: What is trained, with fresh weights.
        recipe: Resolved, the plan's choices included; made ready by `alone` before it was planned.
        decisions: The plan's.
        trace: A file for a trace of some steps, or None.
        progress: Who shows it.

    Returns:
        What the verb prints: `bound`, `shares`, `text`, `next`, and the figures behind them.
    """
    progress.stage("fit", "training a short stretch")
    with settings.applied(settings.of(recipe)):
        seen = _stretch(job, recipe, trace)
        progress.stage("machine", "measuring what this machine does at best")
        machine = peaks.measure(recipe.train.device, peaks.DTYPES[recipe.train.precision])
        watching = cost_of_watching() if recipe.train.device == "cpu" else float("inf")
        done = median_work(seen.made, seen.window, machine, watching)
    found = _figures(seen, done, machine, recipe)
    convolves = any(isinstance(m, nn.Conv2d) for m in job.net.modules())
    found["next"] = next_step(found["bound"], recipe, decisions, cores=environment.cores(), convolves=convolves,
                              costliest=seen.costliest_of_the_persons())  # fmt: skip
    return {**found, "trace": str(trace) if trace else None}


def alone(recipe: Recipe) -> Recipe:
    """The recipe on one process, at the full size of pictures, with nothing in it that ends a training early."""
    train = {"devices": 1, "steps": None, "max_time": None, "early_stopping": None}
    return recipe.model_copy(
        update={
            "train": recipe.train.model_copy(update=train),
            "data": recipe.data.model_copy(update={"progressive": None}),
        }
    )


def _stretch(job: training.Job, recipe: Recipe, trace: Path | None) -> probe.Probe:
    # long enough where an epoch is a single step; longer ones end by the probe
    epochs = max(recipe.train.epochs or 1, probe.MOST_STEPS)
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"epochs": epochs})})
    seen = probe.Probe(job.module, window=recipe.train.accumulate, trace=trace)
    with (
        tempfile.TemporaryDirectory() as folder,
        probe.watched_log(job.module, seen),
        contextlib.suppress(probe.Enough),
    ):
        training.fit(job, recipe, RunDirectory.create(Path(folder) / "run"), Progress(), profiler=seen)
    return seen


def _figures(seen: probe.Probe, done: Work, machine: Machine, recipe: Recipe) -> dict[str, Any]:
    step = _step(seen, done, recipe)
    found = shares(step)
    return {
        "bound": max(found, key=lambda name: found[name]),
        "shares": found,
        "seconds_per_step": step.seconds,
        "steps": seen.steps["timed"],
        "flops_per_step": done.flops,
        "achieved_flops": done.flops / step.seconds,
        "peak_flops": machine.flops,
        "bytes_per_step": done.bytes,
        "achieved_bandwidth": done.bytes / step.seconds,
        "peak_bandwidth": machine.bandwidth,
        "operations_per_step": done.count,
        "seconds_per_launch": machine.launch,
        "beside_the_net": dict(list(seen.between().items())[:SHOWN]),
        "settings": {k: getattr(recipe.train, k) for k in ("device", "threads", "precision", "batch_size")},
    }


def _step(seen: probe.Probe, done: Work, recipe: Recipe) -> Step:
    parts = seen.parts()
    between = max(parts["between"] - seen.calls / seen.steps["timed"] * probe.cost_of_probing(), 0.0)
    if recipe.train.device != "cuda":
        return Step(parts["input"], parts["net"], between, done.compute, done.memory)
    busy = seen.device_seconds / max(seen.steps["traced"], 1)
    share = done.compute / ((done.compute + done.memory) or 1.0)
    return Step(parts["input"], parts["net"], between, busy * share, busy * (1 - share), on_gpu=True)
