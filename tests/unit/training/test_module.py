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


def test_the_compiled_net_takes_whole_batches_in_training_and_has_no_names_of_its_own() -> None:
    kiln = module(train={"batch_size": 3})
    kiln.trainer = type("T", (), {"world_size": 1, "global_step": 0})()
    taken: list[int] = []

    class Compiled(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            taken.append(len(x))
            return kiln.net(x)

    names = list(kiln.state_dict())
    kiln.compiled = (Compiled(),)
    for count in (3, 2):  # the last batch of an epoch
        y = torch.zeros(count, 1)
        batch = {"batch": (torch.zeros(count, 2), y), "target": y, "index": torch.arange(count)}
        kiln.training_step(dict(batch), 0)
        kiln.validation_step(dict(batch), 0)
    assert taken == [3]
    assert list(kiln.state_dict()) == names
