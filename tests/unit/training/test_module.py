"""A task's net as a LightningModule: what it adds up, and how it clips."""

from typing import Any

import pytest
import torch
from torch import nn

from torchkiln.recipe.schema import Recipe
from torchkiln.tasks.custom import Custom
from torchkiln.training.module import KilnModule


def module(**recipe: Any) -> KilnModule:
    given = Recipe(task="custom", data={}, loss={"name": "mse"}, **recipe)  # type: ignore[arg-type]
    return KilnModule(Custom(given), nn.Linear(2, 1), nn.MSELoss(), given, "val_loss", False)


def test_the_train_loss_is_the_mean_over_samples_of_unequal_batches() -> None:
    kiln = module()
    nn.init.zeros_(kiln.net.weight)  # type: ignore[arg-type]
    nn.init.zeros_(kiln.net.bias)  # type: ignore[arg-type]
    kiln.trainer = type("T", (), {"world_size": 1})()
    for values in ([1.0, 1.0, 1.0], [5.0]):
        y = torch.tensor(values)[:, None]
        kiln.training_step(
            {"batch": (torch.zeros(len(values), 2), y), "target": y, "index": torch.arange(len(values))}, 0
        )
    assert kiln.train_loss() == pytest.approx((1 + 1 + 1 + 25) / 4)


@pytest.mark.parametrize(("how", "wanted"), [("norm", [0.6, 0.8]), ("value", [1.0, 1.0])])
def test_gradients_are_clipped_by_norm_or_value_for_fused_optimizers_too(how: str, wanted: list[float]) -> None:
    kiln = module()
    weight = nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    optimizer = torch.optim.AdamW([weight], fused=True)
    kiln.configure_gradient_clipping(optimizer, 1.0, how)
    assert weight.grad.tolist() == pytest.approx(wanted, rel=1e-4)
    kiln.configure_gradient_clipping(optimizer, None, how)
    assert weight.grad.tolist() == pytest.approx(wanted, rel=1e-4)
