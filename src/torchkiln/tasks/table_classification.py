"""Sorting the rows of a table into classes."""

from __future__ import annotations

from typing import Any, ClassVar

import polars as pl
from torch import Tensor, nn

from torchkiln.codec.base import Codec
from torchkiln.codec.target import Labels
from torchkiln.data.source import Finding, Kind, Source
from torchkiln.data.store import Batch
from torchkiln.recipe.schema import Recipe
from torchkiln.tasks import _table
from torchkiln.tasks._classification import Classification


class TableClassification(Classification):
    """Rows of a table to one of two or more classes."""

    name: ClassVar[str] = "table_classification"
    source_kind: ClassVar[Kind] = "table"

    @classmethod
    def defaults(cls, source: Source, recipe: Recipe) -> dict[str, Any]:
        found = _table.defaults(len(source.rows("train")), recipe.model, classes=True)
        # Which epoch is best is told by the log loss: accuracy moves in steps, and is luck on few rows.
        return {**found, "train": {**found["train"], "monitor": "log_loss"}}

    @classmethod
    def fit_codec(cls, train: pl.DataFrame, recipe: Recipe) -> tuple[Codec, list[Finding]]:
        column = recipe.data.target or "label"
        _table.check_rows(train, column)
        target = Labels.fit(train[column])
        return _table.fit_codec(train, recipe, target, target.encode(train[column]), classes=True)

    def build(self, fresh: bool = True) -> nn.Module:
        return _table.build(self.recipe.model, self.codec, len(self.classes))

    def forward(self, net: nn.Module, batch: Batch) -> Tensor:
        return _table.forward(net, batch)
