"""Validations within the first epoch: where they are due, and at its end as ever."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from torchkiln.recipe.schema import Recipe
from torchkiln.training import early_looks
from torchkiln.training.early_looks import EarlyLooks
from torchkiln.training.fit import build_trainer, quiet


class Counted(L.LightningModule):
    """Notes the step of each validation."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.validated: list[int] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return (self.weight - batch[0]).pow(2).mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None: ...

    def on_validation_end(self) -> None:
        self.validated.append(self.trainer.global_step)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize(
    ("batches", "long", "expected"),
    [(16, 16, [2, 4, 8, 16, 32]), (19, 16, [3, 5, 10, 19, 38]), (15, 16, [15, 30]), (1, 1, [1, 2])],
)
def test_where_validations_fall(
    monkeypatch: pytest.MonkeyPatch, batches: int, long: int, expected: list[int]
) -> None:  # fmt: skip
    monkeypatch.setattr(early_looks, "LONG", long)
    module, data = Counted(), DataLoader(TensorDataset(torch.ones(batches, 1)))
    recipe = Recipe.model_validate({"task": "custom", "data": {}, "train": {"epochs": 2, "device": "cpu"}})
    with quiet():
        build_trainer(recipe, [EarlyLooks()]).fit(module, data, DataLoader(TensorDataset(torch.ones(2, 1))))
    assert module.validated == expected
