"""Guard in a fit, in a program of one's own, and in a Lightning script."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from torchkiln.checks.finding import Finding
from torchkiln.checks.guard.patches import Patches
from torchkiln.checks.guard.preflight import SECONDS, Subject, preflight
from torchkiln.checks.guard.watch import Watch
from torchkiln.checks.guard.watching import Guard
from torchkiln.recipe.schema import Recipe
from torchkiln.runs.directory import RunDirectory
from torchkiln.runs.progress import Progress
from torchkiln.training import parts
from torchkiln.training.fit import Job
from torchkiln.training.guarding import Guarding
from torchkiln.training.module import KilnModule
from torchkiln.training.trials import to_device

NOT_HERE = ("R524",)
"""Rules for what our own nets are made for: they take raw pixels, and scale them themselves."""
MOST_SAMPLES = 32
"""Of the batch that is tried."""
SHARE, LEAST_SECONDS = 0.05, 0.5
"""Of the training's planned time, that the preflight may take of a short fit; and what it may take of any."""


def guard(*, json: str | Path | None = None, quiet: bool = False) -> Guard:
    """Watch a training loop for silent errors: `with torchkiln.guard():`, or as a decorator.

    Args:
        json: A file for the findings, written at the end.
        quiet: Print nothing; they are in `.findings`.
    """
    return Guard(json=json, quiet=quiet)


def callbacks(*, json: str | Path | None = None, quiet: bool = False) -> list[Guarding]:
    """The same for a Lightning script: `L.Trainer(callbacks=torchkiln.callbacks())`."""
    return [Guarding(Guard(json=json, quiet=quiet))]


@contextlib.contextmanager
def guarded(run: RunDirectory, job: Job, recipe: Recipe, progress: Progress, resume: bool) -> Iterator[None]:
    """Try a batch before a fit begins, and watch the fit; what is found goes to events.jsonl and to the console."""
    if not recipe.train.guard or recipe.train.devices > 1:
        yield
        return

    def tell(finding: Finding) -> None:
        if finding.rule in NOT_HERE:
            return
        _write(run, progress, finding)

    is_tried = any(e["kind"] == "guard" and "checks" in e for e in run.events())
    if not (resume and is_tried) and (subject := _subject(job, recipe)) is not None:
        found = preflight(subject, _seconds(run))
        for finding in found:
            if finding.state != "PASS":
                tell(finding)
        passed = sum(f.state == "PASS" for f in found)
        run.event("guard", f"preflight: {passed} of {len(found)} checks of the first batch passed",
                  checks={f.rule: f.state for f in found})  # fmt: skip
    with Patches(Watch(tell)):
        yield


def _seconds(run: RunDirectory) -> float:
    """What the preflight may take."""
    planned = (run.read_json("plan.json", {}).get("estimates") or {}).get("train_seconds")
    return SECONDS if planned is None else min(SECONDS, max(LEAST_SECONDS, SHARE * planned))


def _write(run: RunDirectory, progress: Progress, finding: Finding) -> None:
    text = f"{finding.rule} {finding.message}; {finding.fix}"
    run.event("guard", text, "warn", step=finding.step, rule=finding.rule, state=finding.state)
    progress.message(f"{finding.state} {text}", "warn")


def _subject(job: Job, recipe: Recipe) -> Subject | None:
    """The first batch of a task; steps of a person's own LightningModule are only watched."""
    module = job.module
    if not isinstance(module, KilnModule):
        return None
    store = job.train.dataset.store
    count = min(MOST_SAMPLES, recipe.train.batch_size or MOST_SAMPLES, len(store))
    indices = np.unique(np.linspace(0, len(store) - 1, count).astype(np.int64))
    batch = store.take(indices, 0)
    if transform := module.task.transform():
        batch = transform(batch, indices, 0)
    device = next((p.device for p in module.net.parameters()), torch.device("cpu"))
    criterion = module.criterion.to(device)
    batch = to_device(batch, str(device))

    def cut(whole: dict[str, torch.Tensor], pieces: int) -> list[tuple[dict[str, torch.Tensor], float]]:
        made = parts.split(whole, parts.even(len(whole["index"]), pieces))
        return [(part, parts.share(criterion, part, whole)) for part in made]

    def optimizer(net: torch.nn.Module) -> torch.optim.Optimizer:
        return module.optimizer_of(net)

    kind = getattr(module.task, "kind", module.task.prediction_kind)
    return Subject(
        module.net, batch, module.task.forward, lambda output, of: module.task.loss(criterion, output, of), cut,
        optimizer, module.task.predict, kind,
    )  # fmt: skip
