"""A run on a person's own parts: nets, losses, optimizers, datasets, LightningModules."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import nn

from torchkiln.codec.base import Codec
from torchkiln.codec.target import Labels
from torchkiln.data import own
from torchkiln.data.order import EvalOrder
from torchkiln.data.store import Store
from torchkiln.errors import ModelError, RecipeError, RunError
from torchkiln.evaluation import held_out, inference
from torchkiln.models import losses
from torchkiln.recipe import load as recipes
from torchkiln.recipe.schema import Recipe
from torchkiln.registry import load_object
from torchkiln.runs.directory import RECIPE, Place, RunDirectory
from torchkiln.runs.progress import Progress
from torchkiln.stages import going_on
from torchkiln.stages.run import (
    EVAL_BATCH,
    as_child,
    best_of,
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
from torchkiln.tasks.custom import DEFAULTS, Custom
from torchkiln.training import features, jobs, plan, settings
from torchkiln.training import fit as training
from torchkiln.training.devices import available
from torchkiln.training.plan_rows import decision


@dataclass
class Parts:
    """What a person gives from Python, or a recipe names by class path.

    Args:
        model: An `nn.Module` or `LightningModule`; None: the recipe's `model.class_path`.
        loss: A name, a module, a function of (output, target); None: the recipe's.
        optimizer: A name, a mapping as in a recipe, a function of parameter groups; None: the recipe's.
        data: Datasets, loaders or a `LightningDataModule`.
    """

    model: Any
    loss: Any
    optimizer: Any
    data: Any


def from_recipe(recipe: Recipe) -> Parts:
    """The parts that a recipe names by class path.

    Raises:
        ModelError: A class cannot be imported or does not take its arguments.
    """
    made = load_object(recipe.data.class_path or "", "data.class_path")
    try:
        data = made(**recipe.data.init_args)
    except TypeError as error:
        raise ModelError(f"data.init_args: {recipe.data.class_path} does not take them ({error})") from error
    return Parts(None, None, None, data)


def start(parts: Parts, recipe: Recipe, place: Place, progress: Progress) -> Path:
    """A run from the first look at the parts to the report; gives its directory."""
    begun = time.perf_counter()
    if child := as_child(recipe):
        return resume(child, parts, going_on.Wish(), Progress())
    RunDirectory.check_free(place.path, place.overwrite)
    data, net, task, planned = look(parts, recipe, progress)
    tell(planned, progress)
    with going_on.alone(place.path):
        run = RunDirectory.create(place.path, place.overwrite)
        for finding in data.findings:
            write_finding(run, finding)
        write_plan(run, planned, net, digest=None)
        going_on.write_begun(run, planned.recipe, None, data.lengths)
        for reason in going_on.reasons_known(planned.recipe, data.findings):
            going_on.note(run, reason, progress)
        run.write_text(RECIPE, recipes.dump(planned.recipe))
        return _go(run, task, net, planned.recipe, data, parts, progress, begun, resume=False)


def job_of(
    parts: Parts, recipe: Recipe, run: RunDirectory | None, progress: Progress
) -> tuple[training.Job, Recipe, list[dict[str, Any]]]:
    """What `start` would train, with nothing written.

    Args:
        parts: What is trained.
        recipe: As loaded.
        run: A run of this recipe, whose plan is taken; None measures one.
        progress: Who shows it.

    Returns:
        The job, its resolved recipe, and the plan's decisions.
    """
    if run is None:
        data, net, task, planned = look(parts, recipe, progress)
        tell(planned, progress)
        return _job(task, net, planned.recipe, data, parts), planned.recipe, planned.decisions
    progress.stage("data", "looking at the first batch")
    data = own.read(parts.data, recipe.seed, recipe.data.worker_timeout)
    net = net_of(parts, recipe)
    task = None if training.is_own_module(net) else task_of(net, parts, recipe, data)
    return _job(task, net, recipe, data, parts), recipe, run.read_json("plan.json", {}).get("decisions", [])


def look(
    parts: Parts, recipe: Recipe, progress: Progress, anew: bool = False
) -> tuple[own.OwnData, nn.Module, Custom | None, plan.Plan]:
    """Data, net, task and plan of a person's parts; nothing is written but caches.

    Args:
        parts: What was given.
        recipe: As loaded.
        progress: Who shows it.
        anew: Measure although an earlier run did.

    Returns:
        The task is None for a LightningModule.
    """
    recipe = _resolved(recipe, parts)
    progress.stage("data", "looking at the first batch")
    data = own.read(parts.data, recipe.seed, recipe.data.worker_timeout)
    for finding in data.findings:
        progress.message(finding.text, finding.level)
    recipe = _sized(recipe, data)
    net = net_of(parts, recipe)
    task = None if training.is_own_module(net) else task_of(net, parts, recipe, data)
    planned = _plan(task, net, recipe, data, progress, anew)
    return data, net, task, planned


def resume(run: RunDirectory, parts: Parts | None, wish: going_on.Wish, progress: Progress) -> Path:
    """Do what is missing of a run, given its parts anew.

    Args:
        run: The run.
        parts: As it was begun with; None: none were given, and its recipe names none.
        wish: In which it may go on otherwise than it was begun.
        progress: Who shows it.

    Raises:
        RecipeError: The recipe is not what the run began with.
        DataError: The datasets are not as long as they were.
        RunError: The parts were objects, which no file can bring back; or another process is at it.
    """
    begun = time.perf_counter()
    progress = Progress() if going_on.is_child() else progress
    named = recipes.load(run.path / RECIPE, check_paths=False).model.class_path
    if parts is None or (parts.model is None and not named):
        raise RunError(f"{run.path} was begun with objects from Python; go on by torchkiln.fit(model=..., "
                       f"data=..., resume={str(run.path)!r})")  # fmt: skip
    if is_complete(run, progress):
        return run.path
    with going_on.alone(run.path) as left:
        recipe = going_on.checked_recipe(run, wish)
        data = own.read(parts.data, recipe.seed, recipe.data.worker_timeout)
        going_on.check_samples(run, data.lengths, wish, progress)
        net = net_of(parts, recipe)
        task = None if training.is_own_module(net) else task_of(net, parts, recipe, data)
        write_resume(run, recipe, left, progress)
        return _go(run, task, net, recipe, data, parts, progress, begun, resume=True)


def _go(
    run: RunDirectory, task: Custom | None, net: nn.Module, recipe: Recipe, data: own.OwnData, parts: Parts,
    progress: Progress, begun: float, resume: bool,
) -> Path:  # fmt: skip
    job = _job(task, net, recipe, data, parts)
    if training_is_left(run):
        train(run, job, recipe, progress, resume)
    training.load_best(job.net, run)
    if not run.finished("test"):
        progress.stage("test", "testing the best weights on held-out data")
        if task is None:
            _test_module(run, net, recipe, data)
        else:
            _test_task(run, task, net, recipe, data)
    return conclude(run, progress, begun)


# The parts


def _resolved(recipe: Recipe, parts: Parts) -> Recipe:
    """The recipe with the names that were given from Python, and the defaults laid under."""
    given: dict[str, Any] = {}
    if isinstance(parts.loss, str):
        given["loss"] = {"name": parts.loss}
    if isinstance(parts.optimizer, str):
        given["optimizer"] = {"name": parts.optimizer}
    elif isinstance(parts.optimizer, dict):
        given["optimizer"] = parts.optimizer
    if given:
        recipe = recipes.load({**recipe.model_dump(exclude_unset=True), **given}, check_paths=False)
    return recipes.resolve(recipe, DEFAULTS)


def _sized(recipe: Recipe, data: own.OwnData) -> Recipe:
    """The recipe with the batch size of the person's training loader, where one was given."""
    size = data.splits["train"].batch_size
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"batch_size": size})}) if size else recipe


def net_of(parts: Parts, recipe: Recipe) -> nn.Module:
    """The person's net, the very object or the one that the recipe names."""

    def build() -> nn.Module:
        net: nn.Module = parts.model if parts.model is not None else Custom(recipe).build()
        return net

    if parts.model is not None and not isinstance(parts.model, nn.Module):
        raise ModelError(f"model: a {type(parts.model).__name__} was given; give an nn.Module or a LightningModule")
    return jobs.build_net(recipe, build)


def task_of(net: nn.Module, parts: Parts, recipe: Recipe, data: own.OwnData) -> Custom:
    """The task, with what the first batch shows of outputs and targets."""
    task = Custom(recipe)
    if parts.loss is not None and not isinstance(parts.loss, str):
        task.own_loss = losses.as_module(parts.loss)
    store = data.splits["train"].store
    if store is None:
        raise RecipeError("data: a plain net needs datasets or loaders with samples by index; for an iterable "
                          "dataset give a LightningModule")  # fmt: skip
    targets = own.sample_targets(store)
    task.look(net, store.take(np.arange(min(4, len(store)), dtype=np.int64), 0), list(targets))
    return task


def _plan(
    task: Custom | None, net: nn.Module, recipe: Recipe, data: own.OwnData, progress: Progress, anew: bool
) -> plan.Plan:
    """Measured for a plain net; a LightningModule has steps of its own, so it runs as the recipe says."""
    store = decision("data.store", "memory", "the person's own dataset holds it")
    samples = data.splits["train"].store
    if recipe.model.cache_features is True:
        raise RecipeError(f"model.cache_features: {features.UNCUT}")
    if task is None or samples is None:
        recipe = plan.unmeasured(recipe)
        return plan.Plan(recipe, [store, *plan.not_measured(recipe, "a LightningModule's own steps are not measured")])
    jobs.monitored(recipe, task)
    progress.stage("plan", "measuring how this net runs here")
    planned = plan.decide(task, net, task.criterion(np.empty(0)), recipe, samples, [store], anew)
    task.recipe = planned.recipe
    return planned


def _job(task: Custom | None, net: nn.Module, recipe: Recipe, data: own.OwnData, parts: Parts) -> training.Job:
    if task is None:
        return jobs.module_job(net, data, recipe)
    make_optimizer = parts.optimizer if callable(parts.optimizer) else None
    first, val = data.splits["train"], data.splits.get("val")
    recipe = _sized(recipe, data)
    assert first.store is not None
    return jobs.task_job(task, net, task.criterion(np.empty(0)), recipe, first.store, val.store if val else None,
                         make_optimizer=make_optimizer)  # fmt: skip


# The test


def _test_task(run: RunDirectory, task: Custom, net: nn.Module, recipe: Recipe, data: own.OwnData) -> None:
    split, store = _held_out_split(data)
    if store is None:
        raise RecipeError(f"data: the {split} part has no samples by index to test on; give a dataset")
    if task.target is None:
        return _test_loss(run, task, net, recipe, store, split)
    task.codec = Codec(None, task.target)  # type: ignore[arg-type]  # own data has no input codec
    train_store = data.splits["train"].store
    assert train_store is not None
    device = available(recipe.train.device)
    with settings.process(settings.of(recipe)):
        frame, target = _frame(store, len(store))
        if isinstance(task.target, Labels):
            target = target.astype(np.int64)
        result = held_out.evaluate(
            task=task, net=net.to(device), store=store, frame=frame, target=target,
            train_frame=_frame(train_store, own.MOST_TARGETS)[0], recipe=recipe, seed=recipe.seed,
            batch_size=EVAL_BATCH, device=device,
        )  # fmt: skip
    write_test(run, result, {"split": split})


def _test_loss(run: RunDirectory, task: Custom, net: nn.Module, recipe: Recipe, store: Store, split: str) -> None:
    """The mean loss a sample, where outputs and targets have no other measure."""
    device = torch.device(available(recipe.train.device))
    criterion = task.criterion(np.empty(0)).to(device)
    net.to(device).eval()
    total = 0.0
    with settings.process(settings.of(recipe)), torch.inference_mode():
        for key in EvalOrder(len(store), EVAL_BATCH):
            batch = inference.to_device(store.take(key.indices, 0), device)
            total += float(task.loss(criterion, task.forward(net, batch), batch)) * len(key.indices)
    _write_figures(run, split, {"loss": total / len(store)}, "this net has no metric but its loss", len(store))


def _write_figures(run: RunDirectory, split: str, figures: dict[str, float], note: str, n: int | None) -> None:
    """A test.json of figures without intervals and baselines; the first that is no loss is the primary one."""
    metrics = {k: {"value": float(v), "low": None, "high": None, "higher_is_better": not _is_loss(k)}
               for k, v in figures.items()}  # fmt: skip
    primary = next(iter(sorted(metrics, key=_is_loss)), None)
    found = {"split": split, "task": "custom", "n": n, "prediction_kind": None, "primary": primary,
             "metrics": metrics, "baselines": [], "notes": [note]}  # fmt: skip
    run.write_json("test.json", {**found, **best_of(run)})
    run.finish("test")


def _frame(store: own.OwnStore, most: int) -> tuple[pl.DataFrame, Any]:
    """Keys and targets of a person's samples, as far as they stand for rows of a table."""
    target = torch.cat(list(own.sample_targets(store, most))).flatten().numpy()
    return pl.DataFrame({"key": [str(i) for i in range(len(target))], "target": target}), target


def _test_module(run: RunDirectory, module: nn.Module, recipe: Recipe, data: own.OwnData) -> None:
    split, _ = _held_out_split(data)
    batches = jobs.eval_loader(data.splits[split], recipe)
    figures = training.figures_of(module, batches, recipe, is_test=split == "test")
    note = "these are the module's own figures; it gives no predictions a sample, so there is no interval"
    _write_figures(run, split, figures, note, None)


def _is_loss(name: str) -> bool:
    return any(word in name for word in ("loss", "error", "mse", "mae", "rmse", "perplexity"))


def _held_out_split(data: own.OwnData) -> tuple[str, own.OwnStore | None]:
    """The test split; where there is none, validation, which the report then says."""
    name = next((s for s in ("test", "val") if s in data.splits), None)
    if name is None:
        raise RecipeError("data: there is neither a test nor a validation part; give (train, val, test)")
    return name, data.splits[name].store
