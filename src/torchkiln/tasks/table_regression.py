"""A number for each row of a table."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import polars as pl
from torch import Tensor, nn

from torchkiln.codec.base import Codec
from torchkiln.codec.target import Number
from torchkiln.data.source import Finding, Kind, Source
from torchkiln.data.store import Batch
from torchkiln.models import losses
from torchkiln.recipe.schema import Recipe
from torchkiln.tasks import _metrics, _table
from torchkiln.tasks._base import Array, Metric, Task


class TableRegression(Task):
    """Rows of a table to a number, which nets give standardised: 0 is the training mean."""

    name: ClassVar[str] = "table_regression"
    source_kind: ClassVar[Kind] = "table"
    prediction_kind: ClassVar[Literal["classes", "number"]] = "number"

    @classmethod
    def defaults(cls, source: Source, recipe: Recipe) -> dict[str, Any]:
        return _table.defaults(len(source.rows("train")), recipe.model, classes=False)

    @classmethod
    def fit_codec(cls, train: pl.DataFrame, recipe: Recipe) -> tuple[Codec, list[Finding]]:
        column = recipe.data.target or "label"
        _table.check_rows(train, column)
        target = Number.fit(train[column])
        return _table.fit_codec(train, recipe, target, target.encode(train[column]), classes=False)

    def build(self, fresh: bool = True) -> nn.Module:
        return _table.build(self.recipe.model, self.codec, None)

    def forward(self, net: nn.Module, batch: Batch) -> Tensor:
        return _table.forward(net, batch)

    def criterion(self, train_target: Array) -> nn.Module:
        return losses.build(self.recipe.loss, "mse", train_target, None)

    def loss(self, criterion: nn.Module, output: Tensor, batch: Batch) -> Tensor:
        """Loss in standardised units; the members of an ensemble [B, k] have a loss of their own each."""
        number = self._number
        output = _flat(output)
        target = ((batch["target"] - number.mean) / number.scale).to(output.dtype)
        if output.ndim == 2:
            target = target[:, None].expand_as(output)
        result: Tensor = criterion(output, target)
        return result

    def predict(self, output: Tensor) -> Tensor:
        """Numbers [B] in the target's own unit, within the range of the training rows."""
        number = self._number
        output = _flat(output).float()
        mean = output.mean(dim=1) if output.ndim == 2 else output
        return (mean * number.scale + number.mean).clamp(number.low, number.high)

    def metrics(self) -> list[Metric]:
        return _metrics.regression()

    @property
    def _number(self) -> Number:
        target = self.codec.target
        assert isinstance(target, Number)
        return target


def _flat(output: Tensor) -> Tensor:
    """A person's own net may give [B, 1] where [B] is meant."""
    return output[:, 0] if output.ndim == 2 and output.shape[1] == 1 else output
