from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from torchkiln.errors import RunError
from torchkiln.report.compare import compare, lines

CLASSES = ["no", "yes"]
ROWS = 400


def write_run(
    folder: Path, skill: float, *, keys: range = range(ROWS), recipe: str = "", metric: str = "accuracy",
    interval: float = 0.03, **environment: Any,
) -> Path:  # fmt: skip
    """A run of a binary task whose predictions are right with probability `skill`."""
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(f"task: table_classification\ndata: {{path: /gone.csv, target: y}}\n{recipe}")
    labels = np.random.default_rng(0).integers(0, 2, len(keys))
    right = np.random.default_rng(int(skill * 100)).random(len(keys)) < skill
    best = np.where(right, labels, 1 - labels)
    frame = pl.DataFrame({
        "key": [str(k) for k in keys],
        "target": [CLASSES[i] for i in labels],
        "prediction": [CLASSES[i] for i in best],
        "confidence": 0.9,
        "p_no": np.where(best == 0, 0.9, 0.1).astype(np.float32),
        "p_yes": np.where(best == 1, 0.9, 0.1).astype(np.float32),
    })  # fmt: skip
    frame.sample(fraction=1.0, shuffle=True, seed=int(skill * 100)).write_parquet(folder / "predictions.parquet")
    value = float(right.mean())
    score = {"value": value, "low": value - interval, "high": value + interval, "higher_is_better": True}
    test = {"n": len(keys), "task": "table_classification", "primary": metric, "metrics": {metric: score}}
    (folder / "test.json").write_text(json.dumps(test))
    known = {"data_digest": "a", "train_seconds": 12.0, "parameters": 1200, **environment}
    (folder / "environment.json").write_text(json.dumps(known))
    return folder


def text(compared: dict[str, Any]) -> str:
    return "\n".join(line for _, line in lines(compared))


def test_runs_with_the_same_test_rows_are_paired(tmp_path: Path) -> None:
    compared = compare([write_run(tmp_path / "a", 0.7), write_run(tmp_path / "b", 0.9)])
    (gap,) = compared["differences"]
    assert (gap["run"], gap["against"], gap["method"], gap["clear"]) == ("b", "a", "paired bootstrap", True)
    values = [run["metrics"]["accuracy"]["value"] for run in compared["runs"]]
    assert gap["value"] == pytest.approx(values[1] - values[0])
    assert gap["text"].startswith("b is better than a: accuracy +0.")
    json.dumps(compared)


def test_a_small_difference_is_no_difference(tmp_path: Path) -> None:
    compared = compare([write_run(tmp_path / "a", 0.80), write_run(tmp_path / "b", 0.81)])
    assert compared["differences"][0]["clear"] is False
    assert "b and a do not differ beyond chance" in text(compared)


def test_other_test_rows_leave_the_two_intervals_and_that_is_said(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", 0.7)
    b = write_run(tmp_path / "b", 0.9, keys=range(1, ROWS + 1), data_digest="b")
    compared = compare([a, b])
    assert compared["differences"][0]["method"] == "the two intervals"
    assert compared["differences"][0]["clear"] is True
    assert "from the two intervals" in text(compared)
    assert compared["notes"] == ["The runs were made from different data."]


def test_labels_that_differ_under_the_same_keys_are_not_paired(tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "a", 0.7), write_run(tmp_path / "b", 0.9)
    frame = pl.read_parquet(b / "predictions.parquet").with_columns(target=pl.lit("no"))
    frame.write_parquet(b / "predictions.parquet")
    assert compare([a, b])["differences"][0]["method"] == "the two intervals"


def test_a_metric_that_is_no_mean_of_rows_falls_back(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, skill, metric="auroc") for name, skill in (("a", 0.7), ("b", 0.9))]
    assert compare(runs)["differences"][0]["method"] == "the two intervals"


def test_lower_is_better_for_errors_and_numbers_are_paired(tmp_path: Path) -> None:
    truth = np.random.default_rng(0).normal(size=ROWS)
    runs = []
    for name, noise in (("far", 1.0), ("near", 0.5)):
        run = write_run(tmp_path / name, 0.8, metric="rmse")
        guess = truth + np.random.default_rng(1).normal(0, noise, ROWS)
        frame = pl.DataFrame({"key": [str(i) for i in range(ROWS)], "target": truth, "prediction": guess})
        frame.write_parquet(run / "predictions.parquet")
        test = json.loads((run / "test.json").read_text())
        test["metrics"]["rmse"] |= {"value": noise, "higher_is_better": False}
        (run / "test.json").write_text(json.dumps(test))
        runs.append(run)
    gap = compare(runs)["differences"][0]
    assert gap["text"].startswith("near is better than far: RMSE")
    assert gap["method"] == "paired bootstrap"


def test_only_settings_that_differ_are_shown(tmp_path: Path) -> None:
    theirs = "optimizer: {name: sgd, lr: 0.1}\nmodel: {args: {k: 3}}\ntrain: {compile: false}\n"
    a = write_run(tmp_path / "a", 0.7, recipe=theirs)
    b = write_run(tmp_path / "b", 0.7, recipe="optimizer: {name: sgd, lr: 0.2}\ntrain: {compile: true}\n")
    compared = compare([a, b])
    assert compared["settings"] == {
        "optimizer.lr": [0.1, 0.2], "train.compile": [False, True], "model.args.k": [3, None]}  # fmt: skip
    assert "optimizer.lr   0.1    0.2" in text(compared)


def test_three_runs_are_compared_with_the_first(tmp_path: Path) -> None:
    compared = compare([write_run(tmp_path / name, 0.7) for name in "abc"])
    assert [(d["run"], d["against"]) for d in compared["differences"]] == [("b", "a"), ("c", "a")]


def test_runs_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / place / "run", 0.7) for place in ("x", "y")]
    assert [run["name"] for run in compare(runs)["runs"]] == [str(run) for run in runs]


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "a", 0.7), write_run(tmp_path / "b", 0.7, metric="rmse")
    with pytest.raises(RunError, match="at least two"):
        compare([a])
    with pytest.raises(RunError, match="no metric in common"):
        compare([a, b])
    (b / "test.json").unlink()
    with pytest.raises(RunError, match="has no test score"):
        compare([a, b])
    with pytest.raises(RunError, match="does not exist"):
        compare([a, tmp_path / "c"])


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "a", 0.7), write_run(tmp_path / "b", 0.7)
    (b / "predictions.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(RunError, match=r"b/predictions.parquet is damaged"):
        compare([a, b])


def test_a_score_that_is_missing_is_not_hidden(tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "a", 0.7), write_run(tmp_path / "b", 0.7)
    (b / "predictions.parquet").unlink()
    test = json.loads((b / "test.json").read_text())
    test["metrics"]["accuracy"] |= {"value": None, "low": None, "high": None}
    (b / "test.json").write_text(json.dumps(test))
    compared = compare([a, b])
    assert compared["differences"][0]["clear"] is None
    assert "cannot be compared: a score is missing" in text(compared)
