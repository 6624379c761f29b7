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


def test_when_losses_are_read_is_no_part_of_their_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = torch.rand(23, generator=torch.Generator().manual_seed(0)).split(1)

    def total(every: int) -> list[float]:
        monkeypatch.setattr("torchkiln.training.module.READ_EVERY", every)
        kiln = module()
        for number, loss in enumerate(losses):
            kiln._means, kiln._cut = [loss[0]], [({"index": torch.zeros(7 + number % 3)}, 1.0)]
            kiln._sum_up()
            if number == 11:  # a life ends here, and another goes on
                kept, kiln = kiln.train_totals, module()
                kiln.train_totals = kept
        return kiln.train_totals.tolist()

    assert total(1) == total(4) == total(50)
    assert total(50)[1] == sum(7 + n % 3 for n in range(23))


def test_gradients_are_taken_away_as_the_optimizer_would() -> None:
    class Counting(torch.optim.SGD):
        calls = 0

        def zero_grad(self, set_to_none: bool = True) -> None:
            type(self).calls += 1

    kiln = module()
    for optimizer in (torch.optim.SGD(kiln.net.parameters(), 1.0), Counting(kiln.net.parameters(), 1.0)):
        for parameter in kiln.net.parameters():
            parameter.grad = torch.ones_like(parameter)
        kiln.optimizer_zero_grad(0, 0, optimizer)
        assert all((p.grad is None) is (type(optimizer) is torch.optim.SGD) for p in kiln.net.parameters())
    assert Counting.calls == 1, "a person's own is asked"


def test_what_is_set_on_a_module_lands_where_torch_puts_it() -> None:
    kiln = module()
    kiln.step_loss = None
    kiln.step_loss = torch.zeros(())
    kiln.step_loss = None
    assert kiln.step_loss is None
    kiln.held = None
    kiln.held = nn.Linear(1, 1)  # type: ignore[assignment]
    assert "held" in dict(kiln.named_children())
    kiln.held = None
    assert kiln.held is None and kiln._modules["held"] is None


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
