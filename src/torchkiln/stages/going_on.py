"""Whether a run may go on, and whether it still ends bitwise as if nothing had happened.

What a run began with lies in `begun.json` and `files.parquet`. A resume whose recipe or data is another is
refused; on another machine or with other versions it goes on, and the run says that its bits are no longer promised.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from torchkiln.codec.base import Codec
from torchkiln.data.source import Finding, Source
from torchkiln.errors import DataError, RecipeError
from torchkiln.recipe import load as recipes
from torchkiln.recipe.schema import Recipe
from torchkiln.runs import environment, lock
from torchkiln.runs.directory import CHILD, RECIPE, RunDirectory
from torchkiln.runs.progress import Progress

BEGUN, DATA_FILES, SPLITS = "begun.json", "files.parquet", "splits.parquet"
_PLACES = {"data.path", "data.train", "data.val", "data.test"}
"""Keys that may change: whether the data is the same is told by its digest and not by its place."""


@dataclass(frozen=True)
class Wish:
    """What a person may ask of a resume.

    Args:
        devices: Processes to go on with; None: as before.
        accept_data_change: Go on though the data is not what it was.
    """

    devices: int | None = None
    accept_data_change: bool = False


def is_child() -> bool:
    """Whether this is a further process of a run, which Lightning started; the first one checks and writes."""
    return CHILD in os.environ


@contextlib.contextmanager
def alone(path: Path) -> Iterator[str | None]:
    """Keep other runs out of the directory; gives who left it locked, if anyone."""
    with contextlib.nullcontext() if is_child() else lock.held(path) as left:
        yield left


# At the start


def write_begun(run: RunDirectory, recipe: Recipe, source: Source | None, samples: Mapping[str, int | None]) -> None:
    """Keep what the run began with, where no edit of its recipe reaches.

    Args:
        source: The data, where it is read from files.
        samples: Else the lengths of the person's own datasets by split.
    """
    run.write_json(BEGUN, {"recipe": recipes.dump(recipe), "samples": dict(samples), "data_changed": False})
    if source is not None:
        _write_files(run, source)


def reasons_known(recipe: Recipe, findings: Sequence[Finding]) -> list[str]:
    """Why an interrupted run would not end bitwise the same, as far as it can be told before training."""
    found = [f.text for f in findings if f.code == "own_order"]
    train = recipe.train
    if train.device not in ("cpu", "auto") and not train.deterministic:
        found.append(f"train.device is {train.device} and train.deterministic is false, so some sums are added in an "
                     "order that changes from run to run")  # fmt: skip
    return found


def note(run: RunDirectory, reason: str, progress: Progress) -> None:
    """Say once, and in the run for good, why its bits are not promised."""
    known = run.read_json("environment.json", {})
    if reason in known.get("not_bitwise", []):
        return
    run.write_json("environment.json", {**known, "not_bitwise": [*known.get("not_bitwise", []), reason]})
    run.event("resume", f"not bitwise: {reason}", "warn")
    progress.message(f"not bitwise: {reason}", "warn")


# The recipe


def checked_recipe(run: RunDirectory, wish: Wish) -> Recipe:
    """The run's recipe, on as many processes as wished.

    Raises:
        RecipeError: It is not the one that the run began with; names the first key that differs.
    """
    recipe = recipes.load(run.path / RECIPE, _on_devices(run, wish), check_paths=False)
    begun = run.read_json(BEGUN, {})
    text = recipes.dump(recipe)
    if "recipe" not in begun or text == begun["recipe"] or is_child():
        return recipe
    old, new = _flat(recipes.loads(begun["recipe"], check_paths=False)), _flat(recipe)
    changed = sorted(key for key in {*old, *new} if old.get(key) != new.get(key) and key not in _PLACES)
    for key in changed:
        if key in ("train.devices", "train.batch_size") and old["train.devices"] != recipe.train.devices:
            _refuse_devices(run, recipe, old["train.devices"])
        else:
            raise RecipeError(_recipe_changed(run, key, old.get(key), new.get(key)))
    run.write_text(RECIPE, text)
    run.write_json(BEGUN, {**begun, "recipe": text})
    if changed:
        run.event("resume", f"goes on with {recipe.train.devices} processes, after {old['train.devices']}")
    return recipe


def _on_devices(run: RunDirectory, wish: Wish) -> dict[str, Any]:
    """The keys that another number of processes changes: a step goes on to be of as many samples in all."""
    if wish.devices is None:
        return {}
    train = recipes.load(run.path / RECIPE, check_paths=False).train
    samples = (train.batch_size or 1) * train.devices
    if samples % wish.devices:
        raise RecipeError(f"train.devices: the {samples} samples of a step cannot be dealt to {wish.devices} evenly")
    return {"train.devices": wish.devices, "train.batch_size": samples // wish.devices}


def _refuse_devices(run: RunDirectory, recipe: Recipe, before: Any) -> None:
    """Another number of processes adds up in another order, unless the order is fixed by shards."""
    train = recipe.train
    if train.exact != "elastic":
        raise RecipeError(f"train.devices: this run trains on {before} and cannot go on bitwise on {train.devices}, "
                          f"since train.exact is same; a new run could: torchkiln fit {run.path / RECIPE} "
                          "train.exact=elastic")  # fmt: skip


def _recipe_changed(run: RunDirectory, key: str, before: Any, now: Any) -> str:
    old, new = (json.dumps(v, ensure_ascii=False) for v in (before, now))
    return (f"{run.path / RECIPE}: {key} was {old} when this run began and is {new}; put it back, or begin a new run: "
            f"torchkiln fit {run.path / RECIPE} {key}={now if isinstance(now, str) else new}")  # fmt: skip


def _flat(recipe: Recipe) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict) and value:
            for key, below in value.items():
                walk(below, f"{path}.{key}" if path else str(key))
        else:
            found[path] = value

    walk(recipe.model_dump(mode="json"), "")
    return found


# The data


class DataCheck:
    """Compares data as it is read with what the run began with.

    Args:
        run: The run.
        wish: Whether other data is accepted.
        progress: Who is told.
    """

    def __init__(self, run: RunDirectory, wish: Wish, progress: Progress) -> None:
        self.run, self.wish, self.progress = run, wish, progress
        self.changed = bool(run.read_json(BEGUN, {}).get("data_changed"))

    def seen(self, source: Source) -> Source:
        """The source; once it has changed, each row that was there keeps its split and new ones are trained on.

        Raises:
            DataError: It has changed, and that is not accepted; names the first file.
        """
        known = self.run.read_json("environment.json", {})
        if known.get("data_digest") not in (None, source.digest) and not is_child():
            self._changed(known, source)
        return _split_as_before(self.run, source) if self.changed else source

    def codec(self) -> Codec | None:
        """The run's own codec, where fitting it on what is there now would give another."""
        return Codec.from_state(self.run.read_json("codec.json"), self.run.path) if self.changed else None

    def _changed(self, known: Mapping[str, Any], source: Source) -> None:
        what = _first_difference(self.run, source)
        if not self.wish.accept_data_change:
            raise DataError(_refused(self.run, what))
        note(self.run, f"the data was changed and accepted: {what}", self.progress)
        self.changed = True
        _write_files(self.run, source)
        self.run.write_json(BEGUN, {**self.run.read_json(BEGUN, {}), "data_changed": True})
        now = self.run.read_json("environment.json", {})
        self.run.write_json("environment.json", {**now, "data_digest": source.digest})


def check_samples(run: RunDirectory, samples: Mapping[str, int | None], wish: Wish, progress: Progress) -> None:
    """Whether a person's own datasets are as long as they were.

    Raises:
        DataError: One is not, and that is not accepted.
    """
    begun = run.read_json(BEGUN, {})
    for split, before in begun.get("samples", {}).items():
        now = samples.get(split)
        if now == before or is_child():
            continue
        what = f"the {split} dataset had {before} samples and has {'none' if now is None else now}"
        if not wish.accept_data_change:
            raise DataError(_refused(run, what))
        note(run, f"the data was changed and accepted: {what}", progress)
        run.write_json(BEGUN, {**begun, "samples": dict(samples)})


def _refused(run: RunDirectory, what: str) -> str:
    return (f"{run.path}: the data has changed since this run began: {what}; put it back, start a new run by torchkiln "
            f"fit {run.path / RECIPE}, or go on without the promise of equal bits by --accept-data-change")  # fmt: skip


def _first_difference(run: RunDirectory, source: Source) -> str:
    """The first file that was added, removed or changed."""
    file = run.path / DATA_FILES
    before = pl.read_parquet(file).rows() if file.is_file() else []
    old, new = ({name: (size, digest) for name, size, digest in files} for files in (before, source.files))
    for name in sorted({*old, *new}):
        if name not in new:
            return f"{name} is no longer there"
        if name not in old:
            return f"{name} is new"
        if old[name] != new[name]:
            sizes = "" if old[name][0] == new[name][0] else f" (it had {old[name][0]:,} bytes and has {new[name][0]:,})"
            return f"{name} is another{sizes}"
    return "its files are read in another way"


def _write_files(run: RunDirectory, source: Source) -> None:
    """Name, size and digest of each file; parquet, since there may be a million."""
    schema = {"file": pl.String, "bytes": pl.Int64, "sha256": pl.String}
    pl.DataFrame(source.files, schema=schema, orient="row").write_parquet(run.path / DATA_FILES)


def _split_as_before(run: RunDirectory, source: Source) -> Source:
    """A split drawn anew from other rows would put rows that were tested on among those that are trained on."""
    before = pl.read_parquet(run.path / SPLITS).select("key", pl.col("split").alias("then"))
    frame = source.frame.join(before, on="key", how="left", maintain_order="left")
    frame = frame.with_columns(pl.coalesce("then", "split", pl.lit("train")).alias("split")).drop("then")
    return replace(source, frame=frame)


# The machine


def check_machine(run: RunDirectory, now: Mapping[str, Any], recipe: Recipe, progress: Progress) -> None:
    """Say what of the machine and the versions is another than in the life before, and keep what it is now."""
    if is_child():
        return
    known = run.read_json("environment.json", {})
    for reason in environment.differences(known, now, threads_matter=recipe.train.threads == "auto"):
        note(run, reason, progress)
    run.write_json("environment.json", {**run.read_json("environment.json", {}), **now})
