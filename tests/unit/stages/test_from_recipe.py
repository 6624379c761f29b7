"""A run from a recipe: complete, repeatable, tested and used."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import torchkiln
from torchkiln import Run
from torchkiln.errors import DataError
from torchkiln.runs import checkpoints
from torchkiln.runs.progress import Progress

Fit = Callable[..., Run]

FILES = {
    "recipe.yaml",
    "plan.json",
    "environment.json",
    "codec.json",
    "splits.parquet",
    "metrics.csv",
    "timings.csv",
    "steps.csv",
    "schedule.csv",
    "events.jsonl",
    "checkpoints",
    "test.json",
    "predictions.parquet",
    "mistakes.json",
    "report.html",
    "stages.json",
    "best.json",
    "begun.json",
    "files.parquet",
}


def test_the_run_directory_is_complete(fit: Fit) -> None:
    run = fit()
    assert {p.name for p in run.path.iterdir()} == FILES
    scores = run.scores
    assert scores["split"] == "test" and scores["weights"] == "best"
    assert {b["name"] for b in scores["baselines"]} == {"majority class", "HistGradientBoosting"}
    environment = run.directory.read_json("environment.json")
    assert environment["precision"]["mode"] == "32" and environment["total_seconds"] > environment["train_seconds"] > 0
    rows = pl.read_parquet(run.path / "splits.parquet")
    assert rows.columns == ["key", "split", "target"] and len(rows) == 300


def test_its_own_recipe_repeats_it_bitwise(fit: Fit, tmp_path: Path) -> None:
    first = fit()
    again = torchkiln.fit(first.path / "recipe.yaml", out=tmp_path / "again")
    a, b = (checkpoints.newest(r.path / "checkpoints", "best") for r in (first, again))
    assert a is not None and b is not None
    assert (a / "weights.safetensors").read_bytes() == (b / "weights.safetensors").read_bytes()
    for name in ("metrics.csv", "test.json", "recipe.yaml"):
        assert (first.path / name).read_bytes() == (again.path / name).read_bytes(), name


def test_data_that_has_changed_since_is_refused_on_resume(fit: Fit, table: Path) -> None:
    run = fit()
    (run.path / "stages.json").unlink()
    table.write_text(table.read_text().replace("up", "down", 1))
    with pytest.raises(DataError, match="the data has changed since this run began"):
        torchkiln.fit(resume=run.path)


def test_a_resume_does_what_is_missing_and_no_more(fit: Fit) -> None:
    run = fit()
    told: list[str] = []

    class Stages(Progress):
        def stage(self, name: str, text: str) -> None:
            told.append(name)

    torchkiln.fit(resume=run.path, progress=Stages())
    assert told == []
    run.directory.write_json("stages.json", {"fit": True})
    (run.path / "report.html").unlink()
    torchkiln.fit(resume=run.path, progress=Stages())
    assert told == ["data", "test", "report"] and (run.path / "report.html").exists()


def test_bad_data_leaves_no_directory_and_no_run_is_lost(fit: Fit, table: Path) -> None:
    run = fit()
    table.write_text("x,y\n1,up\n")
    with pytest.raises(DataError):
        fit(overwrite=True)
    assert run.scores["metrics"]
    with pytest.raises(DataError):
        fit("other")
    assert not (run.path.parent / "other").exists()
