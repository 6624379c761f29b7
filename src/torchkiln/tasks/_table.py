"""What both kinds of work on tables share: how the codec is fitted, the net, and measured defaults."""

from __future__ import annotations

from typing import Any

import polars as pl
from torch import Tensor, nn

from torchkiln.codec import table_fit
from torchkiln.codec.base import Array, Codec, TargetCodec
from torchkiln.codec.table import TableCodec
from torchkiln.data.source import Finding
from torchkiln.data.store import Batch
from torchkiln.errors import DataError
from torchkiln.models import own, tables
from torchkiln.recipe.schema import Model, Recipe
from torchkiln.registry import did_you_mean

FEWEST_ROWS = 10
"""Training rows below which nothing can be learnt that would hold elsewhere."""


def check_rows(train: pl.DataFrame, target: str) -> None:
    """There are enough training rows, and the target is one of their columns.

    Raises:
        DataError: One of both is not so.
    """
    if target not in train.columns:
        known = [c for c in train.columns if c not in ("key", "split")]
        raise DataError(f"data.target: the table has no column {target!r}{did_you_mean(target, known)}")
    if len(train) < FEWEST_ROWS:
        wanted = f"{FEWEST_ROWS} are the least, and some hundreds are wanted for a net that can be trusted"
        raise DataError(f"the table leaves {len(train)} rows to train on; {wanted}")


def fit_codec(
    train: pl.DataFrame, recipe: Recipe, target: TargetCodec, encoded: Array, *, classes: bool
) -> tuple[Codec, list[Finding]]:
    """The codec of inputs and target, and a word on each column left out.

    Args:
        train: Training rows.
        target: Fitted.
        encoded: The training rows' targets, [n].
        classes: Whether they are class indices.
    """
    split = recipe.data.split
    exclude = {"key", "split", target.column}
    if split.by in ("group", "column") and split.column:
        exclude.add(split.column)
    ordered_by = split.column if split.by == "time" else None
    inputs, notes = table_fit.fit(
        train, encoded, classes=classes, kinds=recipe.data.columns, exclude=exclude, ordered_by=ordered_by
    )
    return Codec(inputs, target), [Finding(n.code, n.level, n.text) for n in notes]


def build(model: Model, codec: Codec, classes: int | None) -> nn.Module:
    """The net of a recipe for what the codec gives, or the person's own."""
    if model.class_path:
        return own.build(model)
    inputs = codec.inputs
    assert isinstance(inputs, TableCodec)
    layout = tables.Layout(inputs.edges, inputs.indicators, inputs.cardinalities)
    return tables.build(model.name or "tabm", model.args, layout, classes)


def forward(net: nn.Module, batch: Batch) -> Tensor:
    """Outputs of a net that takes (numeric, categorical)."""
    output: Tensor = net(batch["numeric"], batch["categorical"])
    return output


def defaults(rows: int, name: str | None) -> dict[str, Any]:
    """Settings that did well on five tables of 200 to 30,000 rows, none of them tuned to a table.

    Args:
        rows: Of the training split.
        name: The net; `tabm` where the recipe says nothing.
    """
    return {
        "model": {"name": name or "tabm"},
        "optimizer": {"name": "adamw", "lr": 1e-2 if name in (None, "tabm") else 1e-3, "weight_decay": 3e-4},
        "scheduler": {"name": "cosine"},
        "train": {
            "epochs": 40,
            "batch_size": 64 if rows < 2_000 else 256,
            "clip": {"norm": 1.0},
        },
    }
