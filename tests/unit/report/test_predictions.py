from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from torchkiln.report import predictions
from torchkiln.report.material import Material, read

Made = Callable[[str], Path]
MINUS = "\N{MINUS SIGN}"


def material(
    predicted: pl.DataFrame | None = None, mistakes: list[dict[str, Any]] | None = None, **test: Any
) -> Material:
    return Material(Path("r"), test=test, predictions=predicted, mistakes=mistakes or [])


def test_the_heat_map_shades_hits_by_share_and_rare_mistakes_by_its_root() -> None:
    found = predictions.confusion(material(classes=["a", "b"], confusion=[[75, 25], [0, 100]]))
    assert found is not None
    first, second = (row["cells"] for row in found["heat"])
    assert [(c["n"], c["hit"], c["shade"]) for c in first] == [(75, True, 7), (25, False, 5)]
    assert [(c["n"], c["hit"], c["shade"]) for c in second] == [(0, False, 0), (100, True, 9)]
    assert (found["wrong"], found["n"]) == (25, 200)


def test_pairs_and_classes_name_the_worst_first() -> None:
    matrix = [[8, 2, 0], [5, 5, 0], [0, 0, 0]]
    found = predictions.confusion(material(classes=["a", "b", "c"], confusion=matrix))
    assert found is not None
    assert [(p["true"], p["predicted"], p["n"]) for p in found["pairs"]] == [("b", "a", 5), ("a", "b", 2)]
    assert [c["name"] for c in found["per_class"]] == ["b", "a", "c"]
    worst = found["per_class"][0]
    assert (worst["recall"], worst["precision"]) == (0.5, pytest.approx(5 / 7))
    assert worst["f1"] == pytest.approx(2 * 0.5 * (5 / 7) / (0.5 + 5 / 7))
    assert math.isnan(found["per_class"][2]["recall"])


def test_without_a_matrix_the_predictions_are_counted() -> None:
    frame = pl.DataFrame({"target": ["1", "2", "2", "1"], "prediction": ["1", "1", None, "9"]})
    found = predictions.confusion(material(frame, classes=["1", "2"]))
    assert found is not None
    assert [[c["n"] for c in row["cells"]] for row in found["heat"]] == [[1, 0], [1, 0]]
    assert predictions.confusion(material(None, classes=["1", "2"])) is None
    assert predictions.confusion(material(None, classes=["1", "2"], confusion=[[1, 2, 3]])) is None


def test_many_classes_have_no_heat_map() -> None:
    names = [f"c{i}" for i in range(predictions.MOST_CLASSES + 1)]
    found = predictions.confusion(material(classes=names, confusion=np.eye(len(names), dtype=int).tolist()))
    assert found is not None
    assert found["heat"] is None
    assert found["pairs"] == []


def test_residuals_leave_out_what_is_not_finite_and_say_so(made: Made) -> None:
    frame = pl.DataFrame({"target": [1.0, 2.0, 3.0, 4.0], "prediction": [2.0, math.nan, None, 3.0]})
    found = predictions.residuals(material(frame, prediction_kind="number", target="price"))
    assert found is not None
    assert found["lost"] == 2
    assert dict(found["rows"])["On average a prediction is off by (bias)"] == "0"
    whole = predictions.residuals(read(made("table")))
    assert whole is not None
    assert whole["lost"] == 0


def test_residuals_without_the_table_are_those_of_the_test() -> None:
    found = predictions.residuals(material(prediction_kind="number", residuals={"points": [[1, 3], [2, 2]]}))
    assert found is not None
    assert dict(found["rows"])["The largest is"] == "2.000"
    assert predictions.residuals(material(prediction_kind="number")) is None
    words = pl.DataFrame({"target": ["a"], "prediction": ["b"]})
    assert predictions.residuals(material(words)) is None
    assert predictions.residuals(material(words, prediction_kind="classes")) is None


@pytest.mark.parametrize(
    ("accuracy", "word"),
    [(0.9, "can be taken as it stands"), (0.7, "too sure of itself"), (0.95, "too modest")],
)
def test_calibration_in_words(accuracy: float, word: str) -> None:
    bins = [
        {"confidence": 0.8, "accuracy": accuracy, "n": 10},
        {"confidence": 1.0, "accuracy": accuracy, "n": 10},
    ]
    found = predictions.calibration(material(calibration={"bins": bins, "ece": 0.1}))
    assert found is not None
    assert word in found["text"]


def test_calibration_without_bins_is_none() -> None:
    assert predictions.calibration(material()) is None
    assert predictions.calibration(material(calibration={"bins": [], "ece": None})) is None
    for gap in ("confidence", "accuracy", "n"):
        none = {"bins": [{"confidence": 0.5, "accuracy": 0.5, "n": 3} | {gap: None}], "ece": 0.1}
        assert predictions.calibration(material(calibration=none)) is None


@pytest.mark.parametrize(
    "image",
    [
        "http://example.org/a.png",
        'data:image/svg+xml,"<script>"',
        'data:image/png;base64,AA" onload=x',
        3,
        None,
    ],
)
def test_only_pictures_of_our_own_making_are_shown(image: Any) -> None:
    found = predictions.mistakes(material(mistakes=[{"key": "k", "target": "a", "prediction": "b", "image": image}]))
    assert found is not None
    assert found["cards"][0]["image"] is None


def test_mistakes_show_what_the_net_was_given() -> None:
    rows = [
        {"key": 1, "target": "a", "prediction": "b", "confidence": 0.931, "text": "x" * 2000},
        {
            "key": "t.csv:2",
            "target": 2.0,
            "prediction": 3.5,
            "error": 1.5,
            "row": {"age": 22.25, "city": None, "n": 1e12},
        },
        {"key": "p", "target": "a", "prediction": "b", "image": "data:image/jpeg;base64,AAAA"},
    ]
    found = predictions.mistakes(material(mistakes=rows))
    assert found is not None
    text, row, image = found["cards"]
    assert (text["key"], text["sure"], len(text["text"])) == ("1", "93.1\u00a0%", 1500)
    assert row["row"] == {"age": "22.25", "city": "missing", "n": "1,000,000,000,000"}
    assert (row["error"], row["target"]) == ("+1.500", "2")
    assert image["image"] == "data:image/jpeg;base64,AAAA"
    assert found["columns"] == ["age", "city", "n"]
    assert predictions.mistakes(material()) is None


def test_a_wide_row_is_cut_and_says_by_how_much() -> None:
    row = {f"c{i}": i for i in range(predictions.MOST_COLUMNS + 5)}
    found = predictions.mistakes(material(mistakes=[{"key": "k", "target": 1, "prediction": 2, "row": row}]))
    assert found is not None
    assert (len(found["columns"]), found["left_out"]) == (predictions.MOST_COLUMNS, 5)


def test_slices_are_measured_by_their_own_metric() -> None:
    metrics = {"auroc": {"value": 0.9}, "accuracy": {"value": 0.8}}
    one = {
        "column": "city",
        "value": None,
        "n": 30,
        "score": 0.51234,
        "low": 0.4,
        "high": 0.6,
        "metric": "accuracy",
    }
    found = predictions.slices(material(primary="auroc", metrics=metrics, slices=[one, {"score": None}]))
    assert found is not None
    assert (found["metric"], found["overall"]) == ("accuracy", "0.8000")
    assert len(found["rows"]) == 1
    row = found["rows"][0]
    assert (row["value"], row["score"], row["interval"]) == ("missing", "0.51", "0.40 to 0.60")
    assert predictions.slices(material(slices=[])) is None
