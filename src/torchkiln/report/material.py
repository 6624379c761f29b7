"""What a run directory holds, read without trust: a missing or damaged file is named, and stops nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import yaml

from torchkiln.errors import RunError

Json = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Material:
    """The files of a run; None where one is missing or cannot be read.

    Args:
        path: The run directory, as the person wrote it.
        recipe, plan, environment, test, codec, export: JSON and YAML files as mappings.
        recipe_text: The resolved recipe as it is written.
        stages: Which stages ended.
        metrics, timings, steps, schedule: CSV files; all columns Float64, empty cells null.
        events, mistakes: Lists of mappings; empty where there is no file.
        predictions, splits: Tables as they were written.
        damaged: One sentence for each file that is there and cannot be read.
    """

    path: Path
    recipe: Json = field(default_factory=dict)
    recipe_text: str = ""
    plan: Json | None = None
    environment: Json | None = None
    test: Json | None = None
    codec: Json | None = None
    export: Json | None = None
    stages: Json = field(default_factory=dict)
    metrics: pl.DataFrame | None = None
    timings: pl.DataFrame | None = None
    steps: pl.DataFrame | None = None
    schedule: pl.DataFrame | None = None
    events: list[Json] = field(default_factory=list)
    mistakes: list[Json] = field(default_factory=list)
    predictions: pl.DataFrame | None = None
    splits: pl.DataFrame | None = None
    damaged: list[str] = field(default_factory=list)

    @property
    def findings(self) -> list[Json]:
        """Events that are findings about the data."""
        return [event for event in self.events if event.get("kind") == "finding"]


def read(path: Path) -> Material:
    """All files of a run directory.

    Raises:
        RunError: There is no such directory, or nothing of a run in it.
    """
    if not path.is_dir():
        raise RunError(f"{path} is no run directory: there is no such folder")
    if not any((path / name).exists() for name in ("recipe.yaml", "events.jsonl", "stages.json", "test.json")):
        raise RunError(f"{path} is no run directory: it holds no recipe.yaml")
    damaged: list[str] = []

    def load(name: str, reader: Callable[[Path], T]) -> T | None:
        try:
            return reader(path / name)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, yaml.YAMLError, pl.exceptions.PolarsError) as error:
            damaged.append(f"{name} cannot be read: {_first_line(error)}")
            return None

    return Material(
        path=path,
        recipe=load("recipe.yaml", _yaml) or {},
        recipe_text=load("recipe.yaml", _text) or "",
        plan=load("plan.json", _mapping),
        environment=load("environment.json", _mapping),
        test=load("test.json", _mapping),
        codec=load("codec.json", _mapping),
        export=load("export.json", _mapping),
        stages=load("stages.json", _mapping) or {},
        metrics=load("metrics.csv", _csv),
        timings=load("timings.csv", _csv),
        steps=load("steps.csv", _csv),
        schedule=load("schedule.csv", _csv),
        events=load("events.jsonl", _lines) or [],
        mistakes=load("mistakes.json", _list) or [],
        predictions=load("predictions.parquet", pl.read_parquet),
        splits=load("splits.parquet", pl.read_parquet),
        damaged=damaged,
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _yaml(path: Path) -> Json:
    return _checked(yaml.safe_load(_text(path)), dict)


def _mapping(path: Path) -> Json:
    return _checked(json.loads(_text(path)), dict)


def _list(path: Path) -> list[Json]:
    return [_checked(item, dict) for item in _checked(json.loads(_text(path)), list)]


def _lines(path: Path) -> list[Json]:
    """Objects line by line; a last line that a kill cut short is left out."""
    lines = _text(path).splitlines()
    found = []
    for place, line in enumerate(lines, start=1):
        try:
            found.append(_checked(json.loads(line), dict))
        except ValueError:
            if place < len(lines):
                raise ValueError(f"line {place} is no JSON object") from None
    return found


def _checked(value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise ValueError(f"it holds a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def _csv(path: Path) -> pl.DataFrame:
    if not path.stat().st_size:
        return pl.DataFrame()
    frame = pl.read_csv(path, infer_schema=False, truncate_ragged_lines=True)
    return frame.select(pl.all().str.strip_chars().cast(pl.Float64, strict=False))
