"""Classes for rows of a table: from raw rows to probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from torchkiln.data.source import Source
from torchkiln.data.store import ArrayStore
from torchkiln.errors import DataError, ModelError
from torchkiln.recipe.schema import Recipe
from torchkiln.registry import load_task
from torchkiln.tasks.table_classification import TableClassification


def frame(rows: int = 60, classes: int = 2) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "key": [str(i) for i in range(rows)],
            "split": ["train"] * rows,
            "x": rng.normal(size=rows),
            "town": [["Ulm", "Bonn", "Kiel"][i % classes] for i in range(rows)],
            "who": [f"person {i // 3}" for i in range(rows)],
            "y": [f"class {i % classes}" for i in range(rows)],
        }
    )


def recipe(**more: Any) -> Recipe:
    data = {"path": "t.csv", "target": "y", **more.pop("data", {})}
    return Recipe(task="table_classification", data=data, **more)


def task_for(data: pl.DataFrame, made: Recipe) -> TableClassification:
    codec, _ = TableClassification.fit_codec(data, made)
    return TableClassification(made, codec)


def test_is_found_by_name() -> None:
    assert load_task("table_classification") is TableClassification


@pytest.mark.parametrize("classes", [2, 3])
def test_rows_become_probabilities_and_a_loss_that_falls(classes: int) -> None:
    data, made = frame(classes=classes), recipe()
    task = task_for(data, made)
    target = task.codec.target.encode(data["y"])
    batch = ArrayStore(task.codec.inputs.encode(data), target).take(np.arange(20), 0)
    torch.manual_seed(0)
    net = task.build()
    criterion = task.criterion(target)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(10):
        loss = task.loss(criterion, task.forward(net, batch), batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    prediction = task.predict(task.forward(net.eval(), batch))
    assert prediction.shape == (20, classes)
    torch.testing.assert_close(prediction.sum(dim=1), torch.ones(20))


def test_the_columns_that_are_no_inputs_stay_out() -> None:
    data = frame()
    made = recipe(data={"split": {"by": "group", "column": "who"}})
    codec, _ = TableClassification.fit_codec(data, made)
    assert {f.column for f in codec.inputs.fields} == {"x", "town"}  # type: ignore[attr-defined]


def test_columns_left_out_are_found_and_said() -> None:
    data = frame().with_columns(pl.lit(3).alias("same"))
    _, findings = TableClassification.fit_codec(data, recipe())
    assert [(f.code, f.level) for f in findings] == [("constant_column", "note")]
    assert "'same'" in findings[0].text


def test_three_rows_are_too_few() -> None:
    with pytest.raises(DataError, match="leaves 3 rows to train on"):
        TableClassification.fit_codec(frame(3), recipe())


def test_one_class_is_too_few() -> None:
    with pytest.raises(DataError, match="only the class 'class 0'"):
        TableClassification.fit_codec(frame(classes=1), recipe())


def test_a_target_that_is_not_there_is_named_with_the_nearest() -> None:
    data = frame().rename({"y": "Survived"})
    with pytest.raises(DataError, match=r"no column 'Survivd': did you mean 'Survived'"):
        TableClassification.fit_codec(data, recipe(data={"target": "Survivd"}))


def test_labels_missing_for_some_rows_are_counted() -> None:
    data = frame().with_columns(pl.when(pl.col("x") < 0).then(None).otherwise(pl.col("y")).alias("y"))
    with pytest.raises(DataError, match=f"{data['y'].null_count()} rows have no label"):
        TableClassification.fit_codec(data, recipe())


def test_a_category_never_seen_and_a_gap_are_predicted() -> None:
    data, made = frame(), recipe()
    task = task_for(data, made)
    new = data.head(2).with_columns(pl.lit("Paris").alias("town"), pl.lit(None, pl.Float64).alias("x"))
    batch = ArrayStore(task.codec.inputs.encode(new), None).take(np.arange(2), 0)
    assert task.predict(task.forward(task.build().eval(), batch)).isfinite().all()


def test_other_nets_by_name_and_their_arguments() -> None:
    data = frame()
    small = task_for(data, recipe(model={"name": "mlp", "args": {"width": 8}})).build()
    assert sum(p.numel() for p in small.parameters()) < 1000
    with pytest.raises(ModelError, match=r"did you mean 'mlp'"):
        task_for(data, recipe(model={"name": "mpl"})).build()


def test_defaults_go_by_the_rows_and_are_keys_of_a_recipe() -> None:
    made = recipe()
    few = TableClassification.defaults(Source("table", frame(), Path(), ""), made)
    many = TableClassification.defaults(Source("table", frame(30_000), Path(), ""), made)
    assert few["train"]["batch_size"] < many["train"]["batch_size"]
    for found in (few, many):
        Recipe(task="table_classification", **{"data": {"path": "t.csv"}, **found})
    assert few["train"]["monitor"] == "log_loss"


def test_a_net_of_the_persons_own_takes_both_arrays() -> None:
    data = frame()
    sizes = {"in1_features": 1, "in2_features": 1, "out_features": 2}
    group = {"split": {"by": "group", "column": "who"}}
    made = recipe(data=group, model={"class_path": "torch.nn.Bilinear", "init_args": sizes})
    task = task_for(data, made)
    net = task.build()
    batch = ArrayStore(task.codec.inputs.encode(data), None).take(np.arange(4), 0)
    batch["categorical"] = batch["categorical"].float()  # what this net takes
    assert task.predict(task.forward(net, batch)).shape == (4, 2)
