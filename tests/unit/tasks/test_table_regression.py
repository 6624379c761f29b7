"""Numbers for rows of a table: units, clipping, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from torchkiln.data.store import ArrayStore
from torchkiln.errors import DataError
from torchkiln.recipe.schema import Recipe
from torchkiln.registry import load_task
from torchkiln.tasks.table_regression import TableRegression


def frame(rows: int = 60) -> pl.DataFrame:
    x = np.random.default_rng(0).normal(size=rows)
    return pl.DataFrame({"key": [str(i) for i in range(rows)], "split": ["train"] * rows, "x": x,
                         "price": 250_000 + 50_000 * x})  # fmt: skip


def recipe(**more: Any) -> Recipe:
    return Recipe(task="table_regression", data={"path": "t.csv", "target": "price"}, **more)


def task_for(data: pl.DataFrame, made: Recipe) -> TableRegression:
    codec, _ = TableRegression.fit_codec(data, made)
    return TableRegression(made, codec)


def test_is_found_by_name() -> None:
    assert load_task("table_regression") is TableRegression


@pytest.mark.parametrize("output", [torch.zeros(3), torch.zeros(3, 1), torch.zeros(3, 16)])
def test_nought_means_the_training_mean(output: torch.Tensor) -> None:
    data = frame()
    predicted = task_for(data, recipe()).predict(output)
    assert predicted.shape == (3,)
    np.testing.assert_allclose(predicted.numpy(), data["price"].to_numpy().mean(), rtol=1e-6)


def test_predictions_stay_in_the_range_of_training() -> None:
    data = frame()
    predicted = task_for(data, recipe()).predict(torch.tensor([-100.0, 100.0]))
    np.testing.assert_allclose(predicted.numpy(), [data["price"].min(), data["price"].max()], rtol=1e-6)  # type: ignore[list-item]


def test_members_average_in_prediction_but_each_has_its_own_loss() -> None:
    data = frame()
    task = task_for(data, recipe())
    mean, scale = data["price"].to_numpy().mean(), data["price"].to_numpy().std()
    batch = {"target": torch.tensor([mean, mean], dtype=torch.float32)}
    apart = torch.tensor([[-1.0, 1.0], [-1.0, 1.0]])
    criterion = task.criterion(data["price"].to_numpy())
    assert float(task.loss(criterion, apart, batch)) == pytest.approx(1.0, rel=1e-3)
    np.testing.assert_allclose(task.predict(apart).numpy(), mean, rtol=1e-6)
    one_off = {"target": torch.tensor([mean + scale], dtype=torch.float32)}
    assert float(task.loss(criterion, torch.zeros(1, 1), one_off)) == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("name", ["tabm", "mlp", "ft_transformer"])
def test_rows_are_learnt(name: str) -> None:
    data, made = frame(), recipe(model={"name": name})
    task = task_for(data, made)
    target = task.codec.target.encode(data["price"])
    batch = ArrayStore(task.codec.inputs.encode(data), target).take(np.arange(60), 0)
    torch.manual_seed(0)
    net, criterion = task.build(), task.criterion(target)
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
    for _ in range(40):
        loss = task.loss(criterion, task.forward(net, batch), batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    error = task.predict(task.forward(net.eval(), batch)).detach().numpy() - target
    assert np.sqrt(np.mean(error**2)) < 20_000


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.Series([1.0, float("nan"), *[2.0] * 58]), "1 values that are no finite number"),
        (pl.Series([7.0] * 60), "is 7 in every training row"),
        (pl.Series(["1", "two", *["3"] * 58]), "holds 'two', which is no number"),
    ],
)
def test_targets_that_cannot_be_learnt(column: pl.Series, message: str) -> None:
    with pytest.raises(DataError, match=message):
        TableRegression.fit_codec(frame().with_columns(column.alias("price")), recipe())


def test_three_rows_are_too_few() -> None:
    with pytest.raises(DataError, match="leaves 3 rows to train on"):
        TableRegression.fit_codec(frame(3), recipe())
