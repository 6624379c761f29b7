"""From a recipe to stores of encoded samples: read, split, check, resolve, fit the codec, encode."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
import polars as pl
import psutil
import torch

from torchkiln.codec.base import Array, Arrays, Codec, InputCodec
from torchkiln.data import cache, findings, sources, splits
from torchkiln.data.source import SPLITS, Finding, Source
from torchkiln.data.store import ArrayStore, DeviceStore, Store, StreamStore
from torchkiln.errors import DataError, RecipeError
from torchkiln.recipe.load import resolve
from torchkiln.recipe.schema import Recipe
from torchkiln.registry import load_task
from torchkiln.tasks._base import Task
from torchkiln.training.devices import available, best_device
from torchkiln.training.plan_rows import SAID, decision

MEMORY_SHARE = 0.25
"""Share of the free memory that decoded samples may take."""
DISK_SHARE = 0.5
DEVICE_SHARE = 0.25
"""Share of a GPU's free memory that samples may take; the rest is the net's."""


@dataclass
class Prepared:
    """All that training and the test need of the data.

    Args:
        recipe: Resolved, but for what the plan decides.
        task: Bound to recipe and codec.
        source: Rows with their splits.
        stores: Samples by split.
        targets: int64 classes or float32 numbers by split.
        findings: What the person should know.
        decisions: Where the data lives, for the plan.
    """

    recipe: Recipe
    task: Task
    source: Source
    stores: dict[str, Store]
    targets: dict[str, Array]
    findings: list[Finding] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def codec(self) -> Codec:
        """What was fitted on the training rows."""
        return self.task.codec

    @property
    def train_rows(self) -> pl.DataFrame:
        """Raw rows of the training split."""
        return self.source.rows("train")


def read(recipe: Recipe, seen: Callable[[Source], Source] | None = None) -> tuple[Source, list[Finding]]:
    """The data of a recipe with splits, checked.

    Args:
        recipe: Whose data it is.
        seen: Is given the data as read, before it is split and checked, and gives what to go on with.

    Raises:
        DataError: It cannot be read, or something would spoil the result.
    """
    task = load_task(recipe.task)
    source = sources.read(recipe.data, task.source_kind)
    source = seen(source) if seen else source
    target = target_column(recipe, source)
    source = splits.assign(source, recipe.data, target, task.prediction_kind == "classes", recipe.seed)
    source = findings.check(source, recipe.data, target, task.prediction_kind == "classes")
    stops = [f for f in source.findings if f.level == "stop"]
    if stops:
        raise DataError("; ".join(f.text for f in stops))
    return source, source.findings


def prepare(
    recipe: Recipe, seen: Callable[[Source], Source] | None = None, fitted: Callable[[], Codec | None] = lambda: None
) -> Prepared:
    """Everything up to the first batch.

    Args:
        recipe: As loaded.
        seen: As for `read`.
        fitted: Asked once the data is read: the codec to use in place of one fitted on the training rows, if any.

    Raises:
        DataError: The data cannot be used.
        RecipeError: The recipe does not fit the data.
    """
    source, found = read(recipe, seen)
    task_class = load_task(recipe.task)
    recipe = resolve(recipe, task_class.defaults(source, recipe))
    kept = fitted()
    codec, words = (kept, []) if kept else task_class.fit_codec(source.rows("train"), recipe)
    task: Task = task_class(recipe, codec)
    stores, targets, decision = _stores(source, codec, recipe)
    return Prepared(recipe, task, source, stores, targets, [*found, *words], [decision])


def target_column(recipe: Recipe, source: Source) -> str:
    """The column to predict.

    Raises:
        RecipeError: It is not said and not plain from the data.
    """
    if recipe.data.target:
        return recipe.data.target
    if "label" in source.frame.columns:
        return "label"
    raise RecipeError(f"data.target: name the column to predict; the data has {', '.join(source.frame.columns[2:])}")


def _stores(source: Source, codec: Codec, recipe: Recipe) -> tuple[dict[str, Store], dict[str, Array], dict[str, Any]]:
    frames = {split: source.rows(split) for split in SPLITS}
    column = codec.target.column
    targets = {split: codec.target.encode(frame[column]) for split, frame in frames.items()}
    where, why = _place(source, codec.inputs, recipe)
    stores = {
        split: make_store(codec.inputs, frame, targets[split], where, source.digest, split)
        for split, frame in frames.items()
    }
    if moved := _on_device(stores, recipe):
        stores, where, why = {**stores, **moved[0]}, "device", moved[1]
    return stores, targets, decision("data.store", where, why)


def make_store(
    codec: InputCodec, frame: pl.DataFrame, target: npt.NDArray[Any] | None, where: str, digest: str, split: str
) -> Store:
    """A store of the frame's rows.

    Args:
        where: memory, cache or stream.
        digest: Of the data, for the name of a cache entry.
        split: Its name, likewise.
    """
    if where == "stream" or not len(frame):
        return StreamStore(codec, frame, target)
    if where == "cache":
        arrays: Arrays = cache.mapped(codec, frame, cache.key(digest, codec, split, frame["key"]))
    elif codec.kind == "image":
        arrays = cache.encode(codec, frame)
    else:
        arrays = codec.encode(frame)
    return ArrayStore(arrays, target)


def _place(source: Source, codec: InputCodec, recipe: Recipe) -> tuple[str, str]:
    """Where decoded samples live, and why."""
    if recipe.data.store not in ("auto", "device"):
        return recipe.data.store, SAID
    if source.kind != "images":
        return "memory", "rows of a table or of text are small once encoded"
    need = cache.sample_bytes(codec, source.frame) * len(source.frame)
    free_memory = psutil.virtual_memory().available
    base = cache.folder()
    base.mkdir(parents=True, exist_ok=True)
    free_disk = shutil.disk_usage(base).free
    size = f"{need / 2**20:,.0f} MiB decoded"
    if need <= min(free_disk * DISK_SHARE, cache.LIMIT_BYTES):
        return "cache", f"{size}, {free_disk / 2**30:,.0f} GiB free on disk; decoded once, then memory-mapped"
    if need <= free_memory * MEMORY_SHARE:
        return "memory", f"{size}, {free_memory / 2**30:,.0f} GiB of memory free"
    return "stream", f"{size} fit neither the disk cache nor memory; workers decode them anew each epoch"


def _on_device(stores: dict[str, Store], recipe: Recipe) -> tuple[dict[str, Store], str] | None:
    """The stores of train and val on the device that trains, and why; None where they stay in memory."""
    device = best_device() if recipe.train.device == "auto" else available(recipe.train.device)
    arrays = {split: store for split, store in stores.items() if split != "test" and isinstance(store, ArrayStore)}
    said = recipe.data.store == "device"
    if not arrays or recipe.train.devices > 1 or (not said and (recipe.data.store != "auto" or device != "cuda")):
        return None
    why = SAID
    if not said:
        need, free = sum(store.nbytes for store in arrays.values()), torch.cuda.mem_get_info()[0]
        if need > free * DEVICE_SHARE or recipe.data.workers not in ("auto", 0):
            return None
        why = f"{need / 2**20:,.0f} MiB, {free / 2**30:,.0f} GiB of the GPU's memory free: only indices are copied"
    return {split: DeviceStore(one.inputs, one.target, device) for split, one in arrays.items()}, why
