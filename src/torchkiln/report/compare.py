"""Runs side by side: their scores, the settings that differ, and whether the scores truly differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from torchkiln.errors import RecipeError, RunError
from torchkiln.recipe import load as recipes
from torchkiln.report import words
from torchkiln.report.terminal import Line
from torchkiln.runs import intervals
from torchkiln.runs.directory import RECIPE, RunDirectory

Json = dict[str, Any]
_PAIRED, _SEPARATE = "paired bootstrap", "the two intervals"


def compare(run_paths: Sequence[str | Path]) -> Json:
    """Compare runs; the differences are against the first.

    Args:
        run_paths: At least two run directories that were tested.

    Returns:
        `runs` (name, path, metrics, ...), `primary`, `settings` (values by key, in the order of the runs,
        where they differ), `differences` (of the primary metric: value, low, high, method, text) and
        `notes`.

    Raises:
        RunError: There are fewer than two, one was not tested, or no metric is common to them.
    """
    if len(run_paths) < 2:
        raise RunError("compare needs at least two runs")
    runs = [RunDirectory.open(path) for path in run_paths]
    tests = [_tested(run) for run in runs]
    primary = _primary(runs, tests)
    names = _names(runs)
    return {
        "runs": [_summary(*each) for each in zip(names, runs, tests, strict=True)],
        "primary": primary,
        "settings": _differing([_settings(run) for run in runs]),
        "differences": [
            _difference(primary, (names[i], runs[i], tests[i]), (names[0], runs[0], tests[0]))
            for i in range(1, len(runs))
        ],
        "notes": _notes(runs, tests),
    }


def _tested(run: RunDirectory) -> Json:
    test: Json | None = run.read_json("test.json")
    if not test or not test.get("metrics"):
        raise RunError(f"{run.path} has no test score (test.json): torchkiln fit --resume {run.path} finishes the run")
    return test


def _primary(runs: Sequence[RunDirectory], tests: Sequence[Json]) -> str:
    """The first run's primary metric if all have it, else the first metric common to all."""
    first = str(tests[0].get("primary"))
    for name in (first, *tests[0]["metrics"]):
        if all(name in test["metrics"] for test in tests):
            return str(name)
    other = next(i for i, t in enumerate(tests) if not set(t["metrics"]) & set(tests[0]["metrics"]))
    raise RunError(
        f"{runs[0].path} was measured by {', '.join(tests[0]['metrics'])} and {runs[other].path} by "
        f"{', '.join(tests[other]['metrics'])}: they have no metric in common"
    )


def _names(runs: Sequence[RunDirectory]) -> list[str]:
    """Folder names, or whole paths where two are the same."""
    names = [run.path.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.path) for run in runs]


def _summary(name: str, run: RunDirectory, test: Json) -> Json:
    environment: Json = run.read_json("environment.json", {})
    kept = ("train_seconds", "samples_per_second", "parameters", "peak_memory_mb", "data_digest")
    return {
        "name": name,
        "path": str(run.path),
        "task": test.get("task"),
        "n": test.get("n"),
        "best_epoch": test.get("best_epoch"),
        "metrics": test["metrics"],
        **{key: environment.get(key) for key in kept},
    }


# Settings


def _settings(run: RunDirectory) -> Json:
    """The run's recipe with dotted keys."""
    try:
        recipe = recipes.load(run.path / RECIPE, check_paths=False)
    except RecipeError as error:
        raise RunError(f"{run.path}: its recipe cannot be read ({error.faults[0]})") from error
    return dict(_flat(recipe.model_dump(mode="json"), ""))


def _flat(value: Any, prefix: str) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        return [pair for k, v in value.items() for pair in _flat(v, f"{prefix}.{k}" if prefix else str(k))]
    return [] if value in ({}, []) else [(prefix, value)]


def _differing(settings: Sequence[Json]) -> dict[str, list[Any]]:
    keys = dict.fromkeys(key for each in settings for key in each)
    rows = {key: [each.get(key) for each in settings] for key in keys}
    return {key: values for key, values in rows.items() if any(v != values[0] for v in values)}


# Scores


def _difference(primary: str, one: tuple[str, RunDirectory, Json], base: tuple[str, RunDirectory, Json]) -> Json:
    """The primary metric of a run minus that of the first."""
    metric, other = one[2]["metrics"][primary], base[2]["metrics"][primary]
    known: Json = {"run": one[0], "against": base[0], "metric": primary}
    gap, method = _paired(primary, one[1], base[1]), _PAIRED
    if gap is None:
        gap, method = _from_intervals(metric, other), _SEPARATE
    if gap is None:
        nothing = dict.fromkeys(("value", "low", "high", "method", "clear"))
        return {**known, **nothing, "text": f"{one[0]} and {base[0]} cannot be compared: a score is missing"}
    better = (gap.value > 0) == bool(metric.get("higher_is_better", True))
    return {
        **known,
        "value": gap.value,
        "low": gap.low,
        "high": gap.high,
        "method": method,
        "clear": gap.is_clear,
        "text": _sentence(one[0], base[0], primary, gap, better, method),
    }


def _sentence(one: str, base: str, primary: str, gap: intervals.Difference, better: bool, method: str) -> str:
    said = words.signed(gap.value, gap.low, gap.high)
    inside = words.interval(gap.value, gap.low, gap.high)
    less = " (less is better)" if better != (gap.value > 0) else ""
    figures = f"{words.measure(primary)} {said}{less}" + (f", 95 % interval {inside}" if inside else "")
    where = f"{method}, same test rows" if method == _PAIRED else f"from {method}, not row by row"
    if not gap.is_clear:
        return f"{one} and {base} do not differ beyond chance: {figures} ({where})"
    return f"{one} is {'better' if better else 'worse'} than {base}: {figures} ({where})"


def _from_intervals(metric: Json, other: Json) -> intervals.Difference | None:
    figures = [[words.finite(m.get(k)) for k in ("value", "low", "high")] for m in (metric, other)]
    if any(f is None for figure in figures for f in figure):
        return None
    (a, a_low, a_high), (b, b_low, b_high) = figures
    return intervals.from_intervals((a, a_low, a_high), (b, b_low, b_high))  # type: ignore[arg-type]


def _paired(primary: str, run: RunDirectory, base: RunDirectory) -> intervals.Difference | None:
    """The difference on the same test rows; None where the runs do not share them."""
    one, other = (_predictions(each) for each in (run, base))
    if primary not in intervals.MEASURES or one is None or other is None:
        return None
    classes = _classes(one)
    same_rows = one["key"].equals(other["key"]) and _same_targets(one["target"], other["target"])
    if not same_rows or one.is_empty() or one["key"].is_duplicated().any() or classes != _classes(other):
        return None
    a, b = (_scores(frame, classes) for frame in (one, other))
    target = _targets(one["target"], classes)
    if target is None or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    return intervals.paired(intervals.MEASURES[primary], target, a, b)


def _scores(frame: pl.DataFrame, classes: Sequence[str]) -> intervals.Floats:
    """Probabilities [n, classes], or predicted numbers [n]."""
    if not classes:
        return frame["prediction"].cast(pl.Float64).to_numpy()
    return frame.select(pl.col(f"p_{name}").cast(pl.Float64) for name in classes).to_numpy()


def _targets(values: pl.Series, classes: Sequence[str]) -> npt.NDArray[Any] | None:
    """Class indices or numbers, of shape [n]; None where a label is not among the classes."""
    if not classes:
        return values.cast(pl.Float64).to_numpy()
    places = {name: place for place, name in enumerate(classes)}
    indices = [places.get(str(label)) for label in values.to_list()]
    return None if None in indices else np.array(indices, np.int64)


def _predictions(run: RunDirectory) -> pl.DataFrame | None:
    file = run.path / "predictions.parquet"
    try:
        frame = pl.read_parquet(file) if file.is_file() else None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RunError(f"{file} is damaged ({str(error).splitlines()[0]})") from error
    usable = frame is not None and {"key", "target", "prediction"} <= set(frame.columns)
    return frame.sort("key") if usable and frame is not None else None


def _same_targets(one: pl.Series, other: pl.Series) -> bool:
    if one.dtype.is_numeric() and other.dtype.is_numeric():
        return bool(np.array_equal(one.to_numpy(), other.to_numpy()))
    return one.cast(pl.String).equals(other.cast(pl.String))


def _classes(frame: pl.DataFrame) -> list[str]:
    return [name.removeprefix("p_") for name in frame.columns if name.startswith("p_")]


def _notes(runs: Sequence[RunDirectory], tests: Sequence[Json]) -> list[str]:
    notes = []
    digests = {run.read_json("environment.json", {}).get("data_digest") for run in runs}
    if len(digests) > 1:
        notes.append("The runs were made from different data.")
    if len({test.get("n") for test in tests}) > 1:
        counts = ", ".join(words.count(test.get("n")) for test in tests)
        notes.append(f"The runs were tested on different numbers of rows: {counts}.")
    return notes


# Words


def lines(compared: Json) -> list[Line]:
    """A comparison as lines of text: scores, settings, differences, notes."""
    runs = compared["runs"]
    heads = ["", *(run["name"] for run in runs)]
    metrics = [m for m in runs[0]["metrics"] if all(m in run["metrics"] for run in runs)]
    rows = [[words.measure(m), *(_cell(run["metrics"][m]) for run in runs)] for m in metrics]
    rows.append(["test rows", *(words.count(run["n"]) for run in runs)])
    rows.append(["training time", *(words.duration(run["train_seconds"]) for run in runs)])
    rows.append(["parameters", *(words.short_count(run["parameters"]) for run in runs)])
    said: list[Line] = [("bold", text) if i == 0 else ("", text) for i, text in enumerate(_table([heads, *rows]))]
    settings = [[key, *(_setting(v) for v in values)] for key, values in compared["settings"].items()]
    said += [("", ""), ("bold", "Settings that differ" if settings else "No setting differs.")]
    said += [("", text) for text in _table(settings)]
    said.append(("", ""))
    said += [("green" if d["clear"] else "", d["text"] + ".") for d in compared["differences"]]
    return said + [("yellow", note) for note in compared["notes"]]


def _cell(metric: Json) -> str:
    value, low, high = (metric.get(k) for k in ("value", "low", "high"))
    inside = words.interval(value, low, high)
    return words.score(value, low, high) + (f" ({inside})" if inside else "")


def _setting(value: Any) -> str:
    if value is None:
        return words.MISSING
    return words.cut(str(value).lower() if isinstance(value, bool) else str(value), 40)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns set flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
