"""A run from a recipe and its data: start it, or go on with it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from torch import nn

from torchkiln.codec.target import Labels
from torchkiln.errors import ModelError
from torchkiln.evaluation import held_out
from torchkiln.recipe import load as recipes
from torchkiln.recipe.schema import Recipe
from torchkiln.runs.directory import RECIPE, Place, RunDirectory
from torchkiln.runs.progress import Progress
from torchkiln.stages import going_on
from torchkiln.stages.run import (
    EVAL_BATCH,
    as_child,
    conclude,
    is_complete,
    tell,
    train,
    training_is_left,
    write_finding,
    write_plan,
    write_resume,
    write_test,
)
from torchkiln.tasks._base import Task, first_batch
from torchkiln.training import features, jobs, plan, settings
from torchkiln.training import fit as training
from torchkiln.training.devices import available
from torchkiln.training.prepare import Prepared, prepare

Decided = list[dict[str, Any]]
"""Decisions as in plan.json."""


def start(recipe: Recipe, place: Place, progress: Progress) -> Path:
    """A run from a recipe, from the data to the report; gives its directory."""
    begun = time.perf_counter()
    if child := as_child(recipe):
        return _beside(child)
    RunDirectory.check_free(place.path, place.overwrite)
    prepared, net, criterion, planned = look(recipe, progress)
    tell(planned, progress)
    with going_on.alone(place.path):
        run = RunDirectory.create(place.path, place.overwrite)
        _write_start(run, prepared, planned, net, progress)
        _fit(run, prepared, net, criterion, progress, resume=False)
        return _finish(run, prepared, net, progress, begun)


def look(recipe: Recipe, progress: Progress, anew: bool = False) -> tuple[Prepared, nn.Module, nn.Module, plan.Plan]:
    """Data, net, loss and plan of a recipe, which write nothing but caches.

    Args:
        recipe: As loaded.
        progress: Who shows it.
        anew: Measure although an earlier run did.
    """
    progress.stage("data", "reading and checking the data")
    prepared = prepare(recipe)
    for finding in prepared.findings:
        progress.message(finding.text, finding.level)
    jobs.monitored(prepared.recipe, prepared.task)
    net, criterion = _build(prepared)
    progress.stage("plan", "measuring how this net runs here")
    planned = plan.decide(
        prepared.task, net, criterion, prepared.recipe, prepared.stores["train"], prepared.decisions, anew
    )
    planned = features.decide(planned, prepared.task, net, prepared.stores["train"])
    return _bound(prepared, planned.recipe), net, criterion, planned


def job_of(recipe: Recipe, run: RunDirectory | None, progress: Progress) -> tuple[training.Job, Recipe, Decided]:
    """What `start` would train, with nothing written.

    Args:
        recipe: As loaded.
        run: A run of this recipe, whose plan is taken; None measures one.
        progress: Who shows it.

    Returns:
        The job, its resolved recipe, and the plan's decisions.
    """
    if run is None:
        prepared, net, criterion, planned = look(recipe, progress)
        tell(planned, progress)
        return _job(prepared, net, criterion), planned.recipe, planned.decisions
    progress.stage("data", "reading and checking the data")
    prepared = prepare(recipe)
    net, criterion = _build(prepared)
    return _job(prepared, net, criterion), recipe, run.read_json("plan.json", {}).get("decisions", [])


def resume(run: RunDirectory, wish: going_on.Wish, progress: Progress) -> Path:
    """Do what is missing of a run: the rest of its training, the test, the report.

    Args:
        run: The run.
        wish: In which it may go on otherwise than it was begun.
        progress: Who shows it.

    Raises:
        RecipeError: The recipe is not what the run began with.
        DataError: The data is not.
        RunError: Another process is at it.
    """
    begun = time.perf_counter()
    progress = Progress() if going_on.is_child() else progress
    if is_complete(run, progress):
        return run.path
    with going_on.alone(run.path) as left:
        recipe = going_on.checked_recipe(run, wish)
        progress.stage("data", "reading and checking the data")
        check = going_on.DataCheck(run, wish, progress)
        prepared = prepare(recipe, check.seen, check.codec)
        write_resume(run, recipe, left, progress)
        if check.changed and not going_on.is_child():
            _write_splits(run, prepared)
        return _go_on(run, prepared, progress, begun)


def _go_on(run: RunDirectory, prepared: Prepared, progress: Progress, begun: float) -> Path:
    net, criterion = _build(prepared)
    if training_is_left(run):
        _fit(run, prepared, net, criterion, progress, resume=True)
    return _finish(run, prepared, net, progress, begun)


# The parts of a run


def _build(prepared: Prepared) -> tuple[nn.Module, nn.Module]:
    criterion = prepared.task.criterion(prepared.targets["train"])
    return jobs.build_net(prepared.recipe, lambda: _net(prepared, criterion)), criterion


def _net(prepared: Prepared, criterion: nn.Module) -> nn.Module:
    """The task's net; a person's own is tried on a few samples, which also gives lazy parameters their shapes.

    Raises:
        ModelError: It does not fit the task.
    """
    task, store = prepared.task, prepared.stores["train"]
    net = task.build()
    if prepared.recipe.model.class_path:
        output = first_batch(task, net, criterion, store.take(np.arange(min(4, len(store))), 0))
        target = prepared.codec.target
        if isinstance(target, Labels) and output.shape[-1] != len(target.classes):
            raise ModelError(
                f"model.class_path: {prepared.recipe.model.class_path} gives {output.shape[-1]} outputs for "
                f"{len(target.classes)} classes"
            )
    return net


def _bound(prepared: Prepared, recipe: Recipe) -> Prepared:
    """The same with the final recipe."""
    task: Task = type(prepared.task)(recipe, prepared.codec)
    return Prepared(recipe, task, prepared.source, prepared.stores, prepared.targets, prepared.findings,
                    prepared.decisions)  # fmt: skip


def _write_start(
    run: RunDirectory, prepared: Prepared, planned: plan.Plan, net: nn.Module, progress: Progress
) -> None:  # fmt: skip
    """All that is known before the first step. The recipe comes last: with it the directory is a run."""
    run.write_json("codec.json", prepared.codec.state(run.path))
    _write_splits(run, prepared)
    for finding in prepared.findings:
        write_finding(run, finding)
    write_plan(run, planned, net, prepared.source.digest)
    going_on.write_begun(run, prepared.recipe, prepared.source, {})
    for reason in going_on.reasons_known(prepared.recipe, prepared.findings):
        going_on.note(run, reason, progress)
    run.write_text(RECIPE, recipes.dump(prepared.recipe))


def _write_splits(run: RunDirectory, prepared: Prepared) -> None:
    target = pl.col(prepared.codec.target.column).alias("target")
    prepared.source.frame.select("key", "split", target).write_parquet(run.path / going_on.SPLITS)


def _fit(
    run: RunDirectory, prepared: Prepared, net: nn.Module, criterion: nn.Module, progress: Progress, resume: bool
) -> None:
    if prepared.recipe.model.cache_features is True:
        features.load_newest(net, run)
    train(run, _job(prepared, net, criterion), prepared.recipe, progress, resume)


def _job(prepared: Prepared, net: nn.Module, criterion: nn.Module) -> training.Job:
    stores, recipe = prepared.stores, prepared.recipe
    if recipe.model.cache_features is True:
        stores = features.stores(prepared, net)
        # a row of features is read faster than handed from one process to another
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"workers": 0})})
    val = stores["val"] if len(stores["val"]) else None
    return jobs.task_job(prepared.task, net, criterion, recipe, stores["train"], val)


def _finish(run: RunDirectory, prepared: Prepared, net: nn.Module, progress: Progress, begun: float) -> Path:
    training.load_best(net, run)
    if not run.finished("test"):
        _test(run, prepared, net, progress)
    return conclude(run, progress, begun)


def _test(run: RunDirectory, prepared: Prepared, net: nn.Module, progress: Progress) -> None:
    progress.stage("test", "testing the best weights on held-out data")
    frame = prepared.source.rows("test")
    result = _held_out(prepared, net, prepared.stores["test"], frame, prepared.targets["test"])
    write_test(run, result, {"split": "test"})


def _held_out(prepared: Prepared, net: nn.Module, store: Any, frame: pl.DataFrame, target: Any) -> Any:
    recipe = prepared.recipe
    device = available(recipe.train.device)
    with settings.process(settings.of(recipe)):
        return held_out.evaluate(
            task=prepared.task, net=net.to(device), store=store, frame=frame, target=target,
            train_frame=prepared.train_rows, recipe=recipe, seed=recipe.seed, batch_size=EVAL_BATCH, device=device,
        )  # fmt: skip


def _beside(run: RunDirectory) -> Path:
    """A further process of a run that the first one began: train beside it."""
    recipe = recipes.load(run.path / RECIPE)
    prepared = prepare(recipe)
    net, criterion = _build(prepared)
    _fit(run, prepared, net, criterion, Progress(), resume=False)
    return run.path
