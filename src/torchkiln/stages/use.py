"""What is done with a run that has ended: its best weights tested again, on new data too, and predictions."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from torch import nn

from torchkiln.bundle import archive, files
from torchkiln.codec.base import Codec
from torchkiln.data import inputs as new_inputs
from torchkiln.data import sources
from torchkiln.data.source import Source
from torchkiln.errors import DataError, KilnError, RunError
from torchkiln.evaluation import held_out, inference
from torchkiln.recipe import load as recipes
from torchkiln.recipe.schema import Data, Recipe
from torchkiln.registry import load_task
from torchkiln.runs.directory import RECIPE, RunDirectory
from torchkiln.runs.progress import Progress
from torchkiln.stages.run import EVAL_BATCH, best_of, write_test
from torchkiln.tasks._base import Task
from torchkiln.training import fit as training
from torchkiln.training import settings
from torchkiln.training.devices import available
from torchkiln.training.prepare import make_store, read, target_column
from torchkiln.training.state_files import load_tensors


@dataclass(frozen=True)
class Trained:
    """A run's best weights in their net, and the codec they were trained with."""

    recipe: Recipe
    task: Task
    net: nn.Module
    codec: Codec
    device: str
    weights: Path
    """The file that they were read from."""


def load(run: RunDirectory) -> Trained:
    """What a run left, ready to predict.

    Raises:
        RunError: The run has no best weights, its codec cannot be read, or its data were objects.
    """
    recipe = recipes.load(run.path / RECIPE, check_paths=False)
    task_class = load_task(recipe.task)
    if task_class.source_kind is None:
        raise RunError(f"{run.path} was trained on a person's own datasets; use the net from Python")
    try:
        codec = Codec.from_state(run.read_json("codec.json", {}), run.path)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise RunError(
            f"{run.path / 'codec.json'} cannot be read ({type(error).__name__}: {error}); it is damaged or of another "
            "version of torchkiln"
        ) from error
    task: Task = task_class(recipe, codec)
    net = task.build(fresh=False)
    weights = training.load_best(net, run) / "weights.safetensors"
    device = available(recipe.train.device)
    return Trained(recipe, task, net.to(device), codec, device, weights)


def rebuild(bundle: Path) -> nn.Module:
    """The net of a bundle with its trained weights, in eval mode.

    Raises:
        BundleError: A file is not what was written.
        RunError: The net was an object from Python, which no file can bring back.
    """
    if bundle.is_file():
        folder = archive.unpack(bundle)
        try:
            return rebuild(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    files.check(bundle)
    recipe = recipes.load(bundle / RECIPE, check_paths=False)
    kept = bundle / "codec.json"
    codec = Codec.from_state(json.loads(kept.read_bytes()), bundle) if kept.is_file() else None
    if codec is None and not recipe.model.class_path:
        raise RunError(f"{bundle} is of a net that was an object in Python: make one like it, and load "
                       f"{bundle / 'weights.safetensors'} into it")  # fmt: skip
    net: nn.Module = load_task(recipe.task)(recipe, codec).build(fresh=False)
    training.load_weights(net, load_tensors(bundle / "weights.safetensors"), bundle)
    return net.eval()


def test(run: RunDirectory, data: str | Path | None, progress: Progress) -> dict[str, Any]:
    """Scores of the best weights, on the run's own test split or on other labelled data.

    Baselines stand beside them where the training rows are still what they were.

    Raises:
        DataError: The data has no labels, or the run's own has changed or gone.
    """
    trained = load(run)
    progress.stage("test", "testing the best weights")
    own = own_data(run, trained.recipe)
    if data is None:
        if isinstance(own, KilnError):
            raise own
        result = _held_out(trained, own.rows("test"), own)
        write_test(run, result, {"split": "test"})
        found: dict[str, Any] = run.read_json("test.json")
        return found
    result = _held_out(trained, _labelled(trained, data), None if isinstance(own, KilnError) else own)
    if isinstance(own, KilnError):
        result.test["notes"].append(f"no baselines: {own}")
    for baseline in result.test["baselines"]:
        del baseline["seconds"]
    return {**result.test, "split": str(data), **best_of(run)}


def predict(run: RunDirectory, inputs: Any) -> pl.DataFrame:
    """Predictions of the best weights for new inputs: `key`, and the columns of the target's codec."""
    trained = load(run)
    text = getattr(trained.codec.inputs, "column", trained.recipe.data.text)
    frame = new_inputs.frame(inputs, trained.task.source_kind, text)
    store = make_store(trained.codec.inputs, frame, None, "stream", "", "")
    with settings.process(settings.of(trained.recipe)):
        prediction = inference.run(trained.task, trained.net, store, EVAL_BATCH, trained.device)
    return pl.concat([frame.select("key"), trained.codec.target.decode(prediction)], how="horizontal")


def own_data(run: RunDirectory, recipe: Recipe) -> Source | KilnError:
    """The data the run began with, or why it cannot be had."""
    try:
        source, _ = read(recipe)
    except KilnError as error:
        return error
    if source.digest != run.read_json("environment.json", {}).get("data_digest"):
        return DataError(f"the data of {run.path} has changed since it was trained")
    return source


def _labelled(trained: Trained, data: str | Path) -> pl.DataFrame:
    """New rows that have a label."""
    given = trained.recipe.data
    new = Data(path=str(data), target=given.target, text=given.text, image=given.image)
    source = sources.read(new, trained.task.source_kind)
    target = target_column(trained.recipe, source)
    if target not in source.frame.columns:
        raise DataError(f"{data} has no column {target!r}; to get predictions without labels: torchkiln predict")
    return source.frame.filter(pl.col(target).is_not_null())


def _held_out(trained: Trained, frame: pl.DataFrame, own: Source | None) -> held_out.HeldOut:
    codec, recipe = trained.codec, trained.recipe
    target = codec.target.encode(frame[codec.target.column])
    store = make_store(codec.inputs, frame, target, "stream", "", "")
    with settings.process(settings.of(recipe)):
        return held_out.evaluate(
            task=trained.task,
            net=trained.net,
            store=store,
            frame=frame,
            target=target,
            train_frame=frame.clear() if own is None else own.rows("train"),
            recipe=recipe,
            seed=recipe.seed,
            batch_size=EVAL_BATCH,
            device=trained.device,
            with_baselines=own is not None,
        )
