"""The whole test: what is written of a run, and what a broken net gets."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

from torchkiln.codec.base import Codec
from torchkiln.codec.target import Labels
from torchkiln.data.store import ArrayStore
from torchkiln.errors import DataError, ModelError
from torchkiln.evaluation import held_out
from torchkiln.recipe.schema import Recipe
from torchkiln.tasks._base import Task
from torchkiln.tasks.table_classification import TableClassification
from torchkiln.tasks.table_regression import TableRegression

KEYS = {
    "split", "n", "task", "prediction_kind", "classes", "target", "primary", "metrics", "baselines",
    "verdict", "confusion", "calibration", "residuals", "slices", "notes",
}  # fmt: skip


class FirstNumber(nn.Module):
    """Outputs that follow the first number of a row."""

    def __init__(self, classes: int | None, scale: float = 3.0) -> None:
        super().__init__()
        self.classes, self.scale = classes, nn.Parameter(torch.tensor(scale))

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        x = numeric[:, 0] * self.scale
        if self.classes is None:
            return x
        return torch.stack([torch.zeros_like(x), x, *[torch.full_like(x, -9.0)] * (self.classes - 2)], dim=1)


def _frame(n: int, seed: int, split: str, words: list[str]) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    label = np.where(x + rng.normal(size=n) > 0, words[1], words[0])
    number = 10 * x + rng.normal(size=n)
    town = rng.choice(["Aa", "Bb"], n)
    key = [f"{split}/{i}" for i in range(n)]
    return pl.DataFrame({"key": key, "split": split, "x": x, "town": town, "label": label, "number": number})


def _given(kind: type[Task], target: str, words: list[str], rows: int = 300) -> dict[str, Any]:
    other = "label" if target == "number" else "number"
    recipe = Recipe.model_validate({"task": kind.name, "data": {"path": "t.csv", "target": target}})
    train, test = (_frame(n, s, w, words).drop(other) for n, s, w in ((500, 0, "train"), (rows, 1, "test")))
    codec, _ = kind.fit_codec(train, recipe)
    encoded = codec.target.encode(test[target])
    return {
        "task": kind(recipe, codec),
        "store": ArrayStore(codec.inputs.encode(test), encoded),
        "frame": test,
        "target": encoded,
        "train_frame": train,
        "recipe": recipe,
        "seed": 0,
        "batch_size": 64,
        "device": "cpu",
    }


def _classes(**more: Any) -> dict[str, Any]:
    return {"net": FirstNumber(2), **_given(TableClassification, "label", ["no", "yes"]), **more}


def test_classes_are_scored_beside_both_baselines() -> None:
    found = held_out.evaluate(**_classes())
    test = found.test
    assert set(test) == KEYS
    json.dumps(test, allow_nan=False)
    assert (test["n"], test["classes"], test["primary"]) == (300, ["no", "yes"], "accuracy")
    assert [b["name"] for b in test["baselines"]] == ["majority class", "HistGradientBoosting"]
    ours, trivial = test["metrics"]["accuracy"], test["baselines"][0]
    assert ours["low"] < ours["value"] < ours["high"]
    assert ours["higher_is_better"] is True
    assert trivial["difference"]["metric"] == "accuracy"
    assert trivial["difference"]["value"] == pytest.approx(ours["value"] - trivial["metrics"]["accuracy"]["value"])
    assert test["verdict"]["beats_trivial"] is True
    assert test["verdict"]["beats_classical"] in (True, False)
    assert np.sum(test["confusion"]) == 300
    assert np.trace(test["confusion"]) / 300 == pytest.approx(ours["value"])
    assert test["residuals"] is None
    assert test["slices"]


def test_predictions_and_mistakes_are_in_the_persons_words() -> None:
    found = held_out.evaluate(**_classes(), with_baselines=False)
    assert found.predictions.columns == ["key", "target", "prediction", "confidence", "p_no", "p_yes"]
    assert found.predictions["key"].to_list() == [f"test/{i}" for i in range(300)]
    hit = (found.predictions["target"] == found.predictions["prediction"]).mean()
    assert hit == pytest.approx(found.test["metrics"]["accuracy"]["value"])
    assert found.test["baselines"] == []
    wrong = found.mistakes[0]
    assert wrong["target"] != wrong["prediction"]
    assert set(wrong["row"]) == {"x", "town"}


def test_numbers_are_scored_in_their_unit() -> None:
    given = _given(TableRegression, "number", ["no", "yes"])
    found = held_out.evaluate(net=FirstNumber(None, scale=1.0), **given)
    test = found.test
    assert set(test) == KEYS
    json.dumps(test, allow_nan=False)
    assert test["primary"] == "rmse"
    assert test["metrics"]["rmse"]["value"] < 2.0
    assert test["verdict"]["beats_trivial"] is True
    assert test["baselines"][0]["difference"]["high"] < 0
    assert test["classes"] is test["confusion"] is test["calibration"] is None
    assert len(test["residuals"]["points"]) == 300
    assert found.predictions.columns == ["key", "target", "prediction"]
    assert abs(found.mistakes[0]["error"]) == found.mistakes[0]["loss"]


def test_the_metric_that_chose_the_epoch_is_the_one_compared() -> None:
    given = _classes()
    for monitor, primary in (("val_auroc", "auroc"), ("macro_f1", "macro_f1"), ("val_loss", "accuracy")):
        train = given["recipe"].train.model_copy(update={"monitor": monitor})
        recipe = given["recipe"].model_copy(update={"train": train})
        test = held_out.evaluate(**{**given, "recipe": recipe}).test
        assert test["primary"] == test["baselines"][0]["difference"]["metric"] == next(iter(test["metrics"])) == primary


def test_the_same_seed_gives_the_same_file() -> None:
    one, two = (held_out.evaluate(**_classes()).test for _ in range(2))
    for test in (one, two):
        for baseline in test["baselines"]:
            baseline["seconds"] = 0
    assert one == two


def test_a_net_worse_than_the_classical_model_is_told_so() -> None:
    found = held_out.evaluate(**_classes(net=FirstNumber(2, scale=-3.0)))
    verdict = found.test["verdict"]
    assert verdict["beats_trivial"] is False
    assert verdict["beats_classical"] is False
    assert "does worse than the majority class" in verdict["text"]
    assert "does better" in verdict["text"]
    assert "as things stand, prefer it" in verdict["text"]


def test_a_net_that_gives_nan_has_no_score() -> None:
    found = held_out.evaluate(**_classes(net=FirstNumber(2, scale=float("nan"))))
    test = found.test
    assert all(v is None for m in test["metrics"].values() for k, v in m.items() if k != "higher_is_better")
    assert test["verdict"]["beats_trivial"] is False
    assert "The net has no accuracy" in test["verdict"]["text"]
    assert test["notes"][0] == "The net's predictions are no finite numbers for 300 of 300 rows: no score."
    assert test["baselines"][0]["metrics"]["accuracy"]["value"] is not None
    assert found.predictions["prediction"].null_count() == 300
    assert found.mistakes == []
    json.dumps(test, allow_nan=False)


def test_one_class_in_the_test_rows() -> None:
    given = _classes()
    rows = np.flatnonzero(given["target"] == 1)
    given |= {"frame": given["frame"][rows], "target": given["target"][rows]}
    given["store"] = ArrayStore({k: v[rows] for k, v in given["store"].inputs.items()}, given["target"])
    test = held_out.evaluate(**given).test
    assert test["metrics"]["auroc"]["value"] is None
    assert test["metrics"]["accuracy"]["value"] is not None
    assert "Undefined here, since classes are missing from the rows: auroc." in test["notes"]


def test_many_classes_are_told_by_their_worst_pairs() -> None:
    names = [f"c{i:02d}" for i in range(40)]
    given = _given(TableClassification, "label", ["c00", "c01"])
    given["task"].codec = Codec(given["task"].codec.inputs, Labels("label", names))
    test = held_out.evaluate(net=FirstNumber(40), **given, with_baselines=False).test
    assert np.shape(test["confusion"]) == (40, 40)
    assert test["notes"][-2].startswith("Mixed up most: c0")


def test_datasets_of_the_persons_own_need_no_table() -> None:
    given = _classes()
    given["task"].codec = Codec(None, Labels("target", ["0", "1"]))  # type: ignore[arg-type]
    given["frame"] = pl.DataFrame({"key": [str(i) for i in range(300)]})
    given["train_frame"] = pl.DataFrame({"key": ["0", "1", "2"], "target": [0, 1, 1]})
    found = held_out.evaluate(**given)
    assert [b["name"] for b in found.test["baselines"]] == ["majority class"]
    assert found.test["verdict"]["beats_classical"] is None
    assert found.predictions["key"].to_list() == [str(i) for i in range(300)]
    assert {s["column"] for s in found.test["slices"]} == {"class"}


def test_a_baseline_that_dies_does_not_take_the_test_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*args: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(held_out.baselines, "classical", dies)
    test = held_out.evaluate(**_classes()).test
    assert [b["name"] for b in test["baselines"]] == ["majority class"]
    assert "The classical baseline could not be fitted: MemoryError: no room" in test["notes"]


def test_without_labels_or_rows_it_says_so() -> None:
    given = _classes()
    with pytest.raises(DataError, match="no labels"):
        held_out.evaluate(**{**given, "target": None})
    numbers = _given(TableRegression, "number", ["no", "yes"])
    numbers["target"] = np.where(np.arange(300) == 7, np.nan, numbers["target"])
    with pytest.raises(DataError, match="1 of 300 test rows have no label"):
        held_out.evaluate(net=FirstNumber(None), **numbers)
    empty = ArrayStore({k: v[:0] for k, v in given["store"].inputs.items()}, given["target"][:0])
    with pytest.raises(DataError, match="the test split has no rows"):
        held_out.evaluate(**{**given, "store": empty, "frame": given["frame"][:0], "target": given["target"][:0]})


def test_a_net_with_another_number_of_classes_is_named() -> None:
    with pytest.raises(ModelError, match="shape 300x3 for 300 rows; task table_classification needs 300x2"):
        held_out.evaluate(**_classes(net=FirstNumber(3)))
