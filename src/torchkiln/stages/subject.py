"""What is exported: a run's trained net as one graph, and its data by training's own way, whoever's the parts are."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from torchkiln.codec.base import BATCH, Array, Arrays, ArraySpec, Axis, Codec
from torchkiln.codec.target import Labels
from torchkiln.data import own
from torchkiln.data.store import ArrayStore
from torchkiln.deploy import graph, raw
from torchkiln.errors import ExportError, KilnError
from torchkiln.evaluation import inference
from torchkiln.models import adapt
from torchkiln.recipe import load as recipes
from torchkiln.recipe.schema import Recipe
from torchkiln.runs.directory import RECIPE, RunDirectory
from torchkiln.stages import from_parts, use
from torchkiln.stages.run import EVAL_BATCH
from torchkiln.tasks._base import Metric
from torchkiln.tasks.custom import Custom
from torchkiln.training import fit as training

MOST_NUMBERS = 20_000_000
"""Of a person's own tensors in the rows of a proof: as records they are lists of Python's numbers."""
_LOOKED_AT = 32
"""Samples of a person's own data by which it is told which sizes vary."""


@dataclass(frozen=True)
class Subject:
    """A trained net, and the rows it was made for.

    Args:
        run: Where it was trained.
        recipe: Resolved.
        graph: Of the best weights.
        codec: None for a person's own data, whose records are plain tensors.
        classes: Their names; empty where there are none.
        metrics: What is measured of predictions; none for a LightningModule.
        weights: The file they were read from.
        rows: A split as training reads it.
        encode: Training's way from such rows to arrays.
        predict: Those to the eager net's predictions.
        target: The rows' targets; None where nothing is measured.
        records: The rows as a request holds them.
    """

    run: RunDirectory
    recipe: Recipe
    graph: graph.Graph
    codec: Codec | None
    classes: list[str]
    metrics: list[Metric]
    weights: Path
    rows: Callable[[str], pl.DataFrame]
    encode: Callable[[pl.DataFrame], Arrays]
    predict: Callable[[Arrays], Array]
    target: Callable[[pl.DataFrame], Array] | None
    records: Callable[[pl.DataFrame], list[dict[str, Any]]]


def of_run(run: RunDirectory) -> Subject:
    """A run from a recipe and data in files.

    Raises:
        RunError: It has no best weights, or they are damaged.
        ExportError: Its data has changed or gone.
    """
    trained = use.load(run)
    net, task, codec = trained.net.cpu(), trained.task, trained.codec
    source = use.own_data(run, trained.recipe)
    if isinstance(source, KilnError):
        raise ExportError(f"the proof cannot be made: {source}") from source
    target = codec.target
    return Subject(
        run=run,
        recipe=trained.recipe,
        graph=graph.of_task(task, net),
        codec=codec,
        classes=target.classes if isinstance(target, Labels) else [],
        metrics=task.metrics(),
        weights=trained.weights,
        rows=source.rows,
        encode=codec.inputs.encode,
        predict=lambda arrays: inference.run(task, net, ArrayStore(arrays, None), EVAL_BATCH, "cpu"),
        target=lambda frame: target.encode(frame[target.column]),
        records=lambda frame: raw.records(frame, codec.inputs),
    )


def of_parts(run: RunDirectory, parts: from_parts.Parts) -> Subject:
    """A run of a person's own net and data.

    Args:
        run: The run.
        parts: As it was begun with; the net is left as it is.

    Raises:
        RunError: It has no best weights, or those of another net.
        ExportError: The net takes something else than tensors, or the data has no validation samples by index.
    """
    recipe = recipes.load(run.path / RECIPE, check_paths=False)
    net = from_parts.net_of(from_parts.Parts(copy.deepcopy(parts.model), parts.loss, parts.optimizer, None), recipe)
    weights = training.load_best(net, run) / "weights.safetensors"
    net.cpu()
    data = own.read(parts.data, recipe.seed, recipe.data.worker_timeout)
    task = None if training.is_own_module(net) else from_parts.task_of(net, parts, recipe, data)
    reader = _OwnRows(data, net)
    kind = _kind(task)
    predicted = task.predict if task is not None and kind != "tensor" else None
    made = graph.of_module(net, reader.specs, reader.by_name, kind, predicted)
    measured = task is not None and kind != "tensor" and task.target is not None
    return Subject(
        run=run,
        recipe=recipe,
        graph=made,
        codec=None,
        classes=task.target.classes if task is not None and isinstance(task.target, Labels) else [],
        metrics=task.metrics() if measured and task is not None else [],
        weights=weights,
        rows=reader.rows,
        encode=reader.arrays,
        predict=_Eager(net, made, reader.by_name, predicted),
        target=reader.target if measured else None,
        records=reader.records,
    )


def _kind(task: Custom | None) -> Literal["classes", "number", "tensor"]:
    if task is None or task.kind == "none":
        return "tensor"
    return "number" if task.kind == "number" else "classes"


class _Eager:
    """The net itself, asked as training asks it, a batch at a time."""

    def __init__(
        self, net: nn.Module, made: graph.Graph, by_name: bool, predicted: Callable[[Tensor], Tensor] | None
    ) -> None:
        self.net, self.names = net, [spec.name for spec in made.inputs]
        self.by_name, self.predicted = by_name, predicted

    def __call__(self, arrays: Mapping[str, Any]) -> Array:
        found = []
        with adapt.evaluating(self.net), torch.inference_mode():
            for start in range(0, len(arrays[self.names[0]]), EVAL_BATCH):
                given = {n: torch.from_numpy(arrays[n][start : start + EVAL_BATCH]) for n in self.names}
                out = self.net(**given) if self.by_name else self.net(*given.values())
                found.append(
                    graph.joined([t.numpy() for t in graph.tensors(self.predicted(out) if self.predicted else out)])
                )
        return np.concatenate(found)


class _OwnRows:
    """A person's samples as arrays by name, and what their form is."""

    def __init__(self, data: own.OwnData, net: nn.Module) -> None:
        self.stores = {name: split.store for name, split in data.splits.items()}
        self.net = net
        if self.stores.get("val") is None:
            raise ExportError("the proof cannot be made: the data has no validation samples by index; give "
                              "(train, val) as datasets")  # fmt: skip
        self.by_name = False
        looks = [self._take("val", np.array([i])) for i in self._spread("val", _LOOKED_AT)]
        self.specs = [_spec(name, [look[name] for look in looks]) for name in looks[0]]

    def rows(self, split: str) -> pl.DataFrame:
        """Places of samples, as many as a proof can hold."""
        if self.stores.get(split) is None:
            return pl.DataFrame({"key": [], "split": [], "place": []})
        one = sum(a.size for a in self._take(split, np.array([0])).values())
        places = self._spread(split, max(1, MOST_NUMBERS // max(one, 1)))
        return pl.DataFrame({"key": [str(i) for i in places], "split": [split] * len(places), "place": places})

    def arrays(self, frame: pl.DataFrame) -> dict[str, Array]:
        split = frame["split"][0] if len(frame) else "val"
        return self._take(split, _places(frame))

    def target(self, frame: pl.DataFrame) -> Array:
        """Targets of the rows."""
        store = self.stores[frame["split"][0]]
        assert store is not None
        found: Array = store.take(_places(frame), 0)["target"].numpy()
        return found

    def records(self, frame: pl.DataFrame) -> list[dict[str, Any]]:
        """Rows as lists of numbers by the inputs' names."""
        arrays = self.arrays(frame)
        return [{name: array[i].tolist() for name, array in arrays.items()} for i in range(len(frame))]

    def _spread(self, split: str, most: int) -> Array:
        store = self.stores[split]
        count = 0 if store is None else len(store)
        return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))

    def _take(self, split: str, places: Array) -> dict[str, Array]:
        """The net's inputs for some samples, by the names of `forward`'s parameters."""
        store = self.stores[split]
        assert store is not None
        given = store.take(places, 0)["batch"]
        parameters = list(inspect.signature(self.net.forward).parameters)
        if isinstance(given, dict):
            self.by_name = True
            inputs = {n: v for n, v in given.items() if n not in own.TARGET_NAMES}
            if training.is_own_module(self.net):
                inputs = {n: v for n, v in inputs.items() if n in parameters}
        else:
            parts = list(given) if isinstance(given, list | tuple) else [given]
            parts = parts[:-1] if len(parts) > 1 else parts
            inputs = dict(zip([*parameters, *(f"input_{i}" for i in range(len(parts)))], parts, strict=False))
        for name, value in inputs.items():
            if not isinstance(value, Tensor):
                raise ExportError(f"the net cannot be exported: its input {name} is a {type(value).__name__}; a net "
                                  "whose inputs are plain tensors can be")  # fmt: skip
        if not inputs:
            raise ExportError("the net cannot be exported: none of the data's entries is a parameter of its forward")
        return {name: value.numpy() for name, value in inputs.items()}


def _places(frame: pl.DataFrame) -> Array:
    return np.array(frame["place"], np.int64)


def _spec(name: str, looks: list[Array]) -> ArraySpec:
    """The form of one input; a size that is not the same in all samples is an axis."""
    sizes = [tuple(look.shape[i] for look in looks) for i in range(1, looks[0].ndim)]
    words = {1: ["length"], 3: ["channels", "height", "width"]}.get(len(sizes), [f"size_{i}" for i in range(9)])
    shape = [s[0] if len(set(s)) == 1 else Axis(words[i]) for i, s in enumerate(sizes)]
    whole = looks[0].dtype.kind in "iu"
    return ArraySpec(
        name, str(looks[0].dtype), (BATCH, *shape),
        below=1 + max(int(look.max(initial=0)) for look in looks) if whole else None,
    )  # fmt: skip
