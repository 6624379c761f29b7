"""What the tasks on tables share: which columns are inputs, how few rows are too few, and the defaults."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from torchkiln.codec.target import Labels
from torchkiln.errors import DataError
from torchkiln.recipe.schema import Model, Recipe
from torchkiln.tasks import _table


def frame(rows: int = 40) -> pl.DataFrame:
    random = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "key": [str(i) for i in range(rows)],
            "split": ["train"] * rows,
            "x": random.normal(size=rows),
            "house": [f"house {i // 4}" for i in range(rows)],
            "day": [f"2024-03-{1 + i % 28:02}" for i in range(rows)],
            "y": [["no", "yes"][i % 2] for i in range(rows)],
        }
    )


def inputs(split: dict[str, Any]) -> dict[str, Any]:
    """Columns that become inputs, with their fields."""
    train = frame()
    target = Labels.fit(train["y"])
    recipe = Recipe(task="table_classification", data={"target": "y", "split": split})  # type: ignore[arg-type]
    codec, _ = _table.fit_codec(train, recipe, target, target.encode(train["y"]), classes=True)
    return {field["column"]: field for field in codec.inputs.state()["fields"]}


def test_the_column_that_rows_are_grouped_by_is_no_input() -> None:
    assert set(inputs({"by": "random"})) == {"x", "house", "day"}
    assert set(inputs({"by": "group", "column": "house"})) == {"x", "day"}
    assert set(inputs({"by": "column", "column": "house"})) == {"x", "day"}


def test_of_the_column_of_time_only_what_comes_again_is_an_input() -> None:
    assert "days" in str(inputs({"by": "random"})["day"])
    assert "days" not in str(inputs({"by": "time", "column": "day"}).get("day"))


@pytest.mark.parametrize(("rows", "enough"), [(_table.FEWEST_ROWS - 1, False), (_table.FEWEST_ROWS, True)])
def test_rows_that_are_enough(rows: int, enough: bool) -> None:
    if enough:
        _table.check_rows(frame(rows), "y")
        return
    with pytest.raises(DataError, match=f"leaves {rows} rows to train on; {_table.FEWEST_ROWS} are the least"):
        _table.check_rows(frame(rows), "y")


def test_a_wrong_target_is_answered_with_the_nearest() -> None:
    with pytest.raises(DataError, match="no column 'hause': did you mean 'house'"):
        _table.check_rows(frame(), "hause")


def test_larger_tables_get_larger_batches_and_fewer_epochs() -> None:
    found = [_table.defaults(rows, Model(), classes=True)["train"] for rows in (500, 5_000, 50_000, 500_000)]
    sizes, epochs = [f["batch_size"] for f in found], [f["epochs"] for f in found]
    assert sizes == sorted(sizes) and len(set(sizes)) == 4
    assert epochs[1:] == sorted(epochs[1:], reverse=True)
    assert ["early_stopping" in f for f in found] == [True, False, False, False]


def test_the_rate_is_that_of_the_net() -> None:
    def rate(**model: Any) -> float:
        return float(_table.defaults(500, Model(**model), classes=False)["optimizer"]["lr"])

    assert rate() == rate(name="auto") == rate(name="tabm") > rate(name="mlp") == rate(class_path="a.B")
