"""The whole line through the installed command: init, fit, test, predict, report, compare."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

pytestmark = pytest.mark.slow

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
    "best.json",
    "begun.json",
    "files.parquet",
    "test.json",
    "predictions.parquet",
    "mistakes.json",
    "stages.json",
    "report.html",
}

# data fixture, task, primary metric, a score that guessing does not reach
LINES = {
    "images": ("shapes", "image_classification", "accuracy", 0.6),
    "classes of a table": ("customers", "table_classification", "accuracy", 0.7),
    "a number of a table": ("houses", "table_regression", "rmse", None),
    "text": ("topics", "text_classification", "accuracy", 0.8),
}


@pytest.fixture(scope="module", params=LINES)
def line(request: pytest.FixtureRequest, kiln: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A recipe by `init` and a run by `fit`, for one kind of work."""
    fixture, task, metric, floor = LINES[request.param]
    data = request.getfixturevalue(fixture)
    folder = tmp_path_factory.mktemp("line")
    init = kiln("init", data, "--out", "recipe.yaml", cwd=folder)
    assert init.returncode == 0, init.stderr
    fit = kiln("fit", "recipe.yaml", "--out", "runs/one", "train.epochs=8", cwd=folder)
    assert fit.returncode == 0, fit.stdout + fit.stderr
    return folder, data, task, metric, floor, fit


def test_init_writes_a_recipe_with_comments(line: Any) -> None:
    folder, _, task, *_ = line
    text = (folder / "recipe.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["task"] == task
    assert "#" in text


def test_the_run_directory_is_complete(line: Any) -> None:
    folder, *_ = line
    run = folder / "runs" / "one"
    assert {p.name for p in run.iterdir()} >= FILES
    assert json.loads((run / "stages.json").read_text()) == {"fit": True, "test": True, "report": True}


def test_the_tables_have_a_row_an_epoch(line: Any) -> None:
    folder, _, _, metric, *_ = line
    run = folder / "runs" / "one"
    metrics, timings = (
        list(csv.DictReader((run / name).read_text(encoding="utf-8").splitlines()))
        for name in ("metrics.csv", "timings.csv")
    )
    assert [row["epoch"] for row in metrics] == [row["epoch"] for row in timings]
    assert 1 <= len(metrics) <= 8
    assert {"epoch", "step", "train_loss", "val_loss", f"val_{metric}", "lr"} <= set(metrics[0])
    assert {"seconds", "samples_per_second", "memory_mb"} <= set(timings[0])
    assert all(float(row["train_loss"]) > 0 for row in metrics)


def test_the_environment_says_what_ran(line: Any) -> None:
    folder, *_ = line
    environment = json.loads((folder / "runs" / "one" / "environment.json").read_text())
    assert environment["device"]["type"] in ("cpu", "cuda", "mps")
    assert environment["precision"]["mode"]
    assert {"python", "torch", "cuda"} <= set(environment["versions"])
    assert environment["total_seconds"] >= environment["train_seconds"] > 0
    assert environment["samples_per_second"] > 0
    assert environment["parameters"] >= environment["trainable"] > 0


def test_the_score_has_an_interval_and_a_baseline(line: Any) -> None:
    folder, _, task, metric, floor, _ = line
    result = json.loads((folder / "runs" / "one" / "test.json").read_text())
    assert (result["task"], result["primary"], result["weights"]) == (task, metric, "best")
    score = result["metrics"][metric]
    assert score["low"] <= score["value"] <= score["high"]
    assert result["baselines"], "no baseline stands beside the score"
    assert metric in result["baselines"][0]["metrics"]
    if floor:
        assert score["value"] >= floor
    else:
        assert score["value"] < result["baselines"][0]["metrics"][metric]["value"]
    assert result["verdict"]["beats_trivial"] is True


def test_splits_and_predictions_name_the_same_rows(line: Any) -> None:
    folder, *_ = line
    run = folder / "runs" / "one"
    splits = pl.read_parquet(run / "splits.parquet")
    assert set(splits["split"]) == {"train", "val", "test"}
    assert splits["key"].is_unique().all()
    predictions = pl.read_parquet(run / "predictions.parquet")
    assert set(predictions["key"]) == set(splits.filter(pl.col("split") == "test")["key"])
    assert {"key", "target", "prediction"} <= set(predictions.columns)


def test_testing_again_gives_the_same(line: Any, here: Any) -> None:
    folder, _, _, metric, *_ = line
    before = json.loads((folder / "runs" / "one" / "test.json").read_text())
    code, out, errors = here("test", "runs/one", "--json", cwd=folder)
    assert code == 0, errors
    assert json.loads(out)["metrics"][metric]["value"] == before["metrics"][metric]["value"]


def test_prediction_on_the_data_itself(line: Any, here: Any) -> None:
    """Rows of the test split get the prediction that the test gave them: one way from input to output."""
    folder, data, *_ = line
    code, _, errors = here("predict", "runs/one", data, "--out", "out.csv", cwd=folder)
    assert code == 0, errors
    rows = pl.read_csv(folder / "out.csv", schema_overrides={"key": pl.String})
    splits = pl.read_parquet(folder / "runs" / "one" / "splits.parquet")
    assert len(rows) == len(splits)
    held_out = pl.read_parquet(folder / "runs" / "one" / "predictions.parquet")
    both = held_out.select("key", "prediction").join(rows, on="key", suffix="_again")
    assert len(both) == len(held_out)
    if both["prediction"].dtype.is_float():
        assert ((both["prediction"] - both["prediction_again"]).abs() < 1e-3 * both["prediction"].abs()).all()
    else:
        assert both["prediction"].to_list() == both["prediction_again"].cast(pl.String).to_list()


def test_the_report_is_one_file(line: Any, here: Any) -> None:
    folder, *_ = line
    page = folder / "runs" / "one" / "report.html"
    page.unlink()
    code, _, errors = here("report", "runs/one", cwd=folder)
    assert code == 0, errors
    text = page.read_text(encoding="utf-8")
    assert "<html" in text
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:)?//""", text)


def test_comparing_two_runs(line: Any, here: Any) -> None:
    folder, _, _, metric, *_ = line
    code, out, errors = here("fit", "recipe.yaml", "--out", "runs/two", "train.epochs=1", "seed=1", cwd=folder)
    assert code == 0, errors
    code, out, errors = here("compare", "runs/one", "runs/two", cwd=folder)
    assert code == 0, errors
    assert "train.epochs" in out
    _, out, _ = here("compare", "runs/one", "runs/two", "--json", cwd=folder)
    assert metric in json.dumps(json.loads(out))


def test_fit_with_data_in_place_of_a_recipe(kiln: Any, houses: Path, tmp_path: Path) -> None:
    """The shortest way to a tested model: one line, and the run gets a name of its own."""
    done = kiln("fit", houses, "train.epochs=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = list((tmp_path / "runs").iterdir())
    assert len(runs) == 1
    assert (runs[0] / "report.html").is_file()
    assert "report.html" in done.stdout
    again = kiln("fit", houses, "train.epochs=1", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_json_of_a_fit_is_for_machines(kiln: Any, houses: Path, tmp_path: Path) -> None:
    done = kiln("fit", houses, "train.epochs=1", "--json", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rmse" in json.dumps(json.loads(done.stdout))


def test_the_data_is_left_alone(kiln: Any, shapes: Path, tmp_path: Path) -> None:
    """Caches and runs lie where the person works, never beside the data."""
    before = sorted(shapes.parent.rglob("*"))
    assert kiln("fit", shapes, "train.epochs=1", cwd=tmp_path).returncode == 0
    assert sorted(shapes.parent.rglob("*")) == before


def test_a_plan_is_shown_and_written_and_nothing_else(here: Any, customers: Path, tmp_path: Path) -> None:
    words = ["plan", customers, "train.threads=1", "train.epochs=2"]
    code, out, _ = here(*words, "--out", "plan.json", cwd=tmp_path)
    assert code == 0 and "train.precision" in out and " ms " in out and "of training; " in out
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]
    code, out, _ = here(*words, "--json", cwd=tmp_path)
    found = json.loads(out)
    assert code == 0 and found["measured"]["cached"] is True
    assert found["recipe"] == json.loads((tmp_path / "plan.json").read_text())["recipe"]
    for wrong, said in ((["plan"], "plan needs a recipe or data"), (["plan", "nowhere"], "does not exist"),
                        ([*words, "--out", "plan.json"], "plan.json exists"), ([*words, "epochs=3"], "did you mean"),
                        ([*words, "train.micro_batch=0"], "train.micro_batch")):  # fmt: skip
        code, out, err = here(*wrong, cwd=tmp_path)
        assert (code, out) == (2, "") and said in err and len(err.splitlines()) <= 2, err
