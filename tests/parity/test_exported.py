"""What a bundle answers, beside the score of the run it came from, on public data: one data set a task."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import torchkiln
from torchkiln import Run, bundle
from torchkiln.bundle.proof import same_digits
from torchkiln.deploy import raw
from torchkiln.runs.directory import RunDirectory
from torchkiln.stages import use

RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "table_classification": ("penguins/penguins.csv", {"data.target": "species", "train.epochs": 5}),
    "table_regression": ("california_housing/housing.csv", {"data.target": "median_house_value", "train.epochs": 1}),
    "text_classification": ("sst2", {"train.epochs": 1}),
    "image_classification": ("hymenoptera", {"train.epochs": 2, "data.image_size": 64}),
}


@pytest.mark.slow
@pytest.mark.parametrize("task", RECIPES)
def test_a_bundle_scores_on_the_test_rows_as_its_run_did(task: str, tmp_path: Path) -> None:
    data, settings = RECIPES[task]
    place = Path(os.environ.get("TORCHKILN_DATA", "nowhere"), data)
    if not place.exists():
        pytest.skip(f"TORCHKILN_DATA holds no {data}")
    settings = {**settings, "train.threads": 1, "train.precision": "32", "train.compile": False, "data.workers": 0}
    run = torchkiln.fit(place, {"task": task, **settings}, out=tmp_path / "run")
    found = torchkiln.export(run, formats=["onnx"])
    assert found["ok"], found
    served = bundle.load(found["bundle"], model="onnx")
    target, prediction = answered(run, served)
    metrics = use.load(RunDirectory.open(run.path)).task.metrics()
    for metric in metrics:
        theirs = run.scores["metrics"][metric.name]["value"]
        assert same_digits(theirs, metric.score(target, prediction)), metric.name


def answered(run: Run, served: bundle.Bundle) -> tuple[Any, Any]:
    """Targets of the run's test rows, and predictions from the bundle's own answers to the raw records."""
    directory = RunDirectory.open(run.path)
    trained = use.load(directory)
    source = use.own_data(directory, trained.recipe)
    assert not isinstance(source, Exception)
    rows = source.rows("test")
    assert len(rows) == len(pl.read_parquet(run.path / "predictions.parquet")) > 30
    answers = served.predict(raw.records(rows, trained.codec.inputs))
    target = trained.codec.target
    if served.manifest.prediction_kind == "number":
        prediction = np.array([one["prediction"] for one in answers], np.float32)
    else:
        classes = served.schema["classes"]
        prediction = np.array([[one["probabilities"][name] for name in classes] for one in answers], np.float32)
        assert [one["prediction"] for one in answers] == [classes[i] for i in prediction.argmax(axis=1)]
    return target.encode(rows[target.column]), prediction
