"""What both kinds of work on tables share: how the codec is fitted, the net, and measured defaults."""

from __future__ import annotations

from typing import Any

import numpy as np
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


SMALL, LARGE, HUGE = 2_000, 20_000, 200_000
"""Training rows at which the batches grow."""


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


def defaults(rows: int, model: Model, *, classes: bool) -> dict[str, Any]:
    """Settings that did well on five tables of 200 to 30,000 rows, none of them tuned to a table.

    Few rows are seen in small batches, averaged over fewer steps, and stopped early; the length of other
    runs is set so that the cosine ends where more epochs no longer helped.

    Args:
        rows: Of the training split.
        model: What the recipe says of the net.
        classes: Whether the target is a class.
    """
    name = None if model.class_path else "tabm" if model.name in (None, "auto") else model.name
    ensemble = name == "tabm"
    small = rows < SMALL
    seen, fewest = (24_000, 30) if small else (550_000, 10)
    train: dict[str, Any] = {
        "epochs": int(np.clip(round(seen / max(rows, 1)), fewest, 60)),
        "batch_size": 64 if small else 128 if rows < LARGE else 256 if rows < HUGE else 1024,
        "ema": 0.98 if small else 0.998,
        "clip": {"norm": 1.0},
        "early_looks": True,
    }
    if small:
        train["early_stopping"] = {"patience": 15}
    # Classes of people and the like are noisier than prices and measures: they are overfitted sooner, and
    # gained from more members, which numbers did not.
    many = 32 if classes and not small else 16
    args = {"args": {"k": many, "dropout": 0.2 if classes else 0.1}} if ensemble else {}
    return {
        "model": {"name": name, **args},
        "optimizer": {"name": "adamw", "lr": 1e-2 if ensemble else 1e-3, "weight_decay": 3e-4},
        "scheduler": {"name": "cosine"},
        "train": train,
    }
