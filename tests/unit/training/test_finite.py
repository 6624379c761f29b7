"""A loss that is no number is found at its batch, and never saved."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from torchkiln.errors import RunFailed
from torchkiln.training import finite
from torchkiln.training.finite import FiniteWatch, NotFinite

BAD = float("nan")


def trainer(scale: float | None = None, weight: float = 1.0) -> Any:
    scaler = None if scale is None else SimpleNamespace(get_scale=lambda: scale)
    net = nn.Linear(1, 1)
    nn.init.constant_(net.weight, weight)
    return SimpleNamespace(current_epoch=2, global_step=31, precision_plugin=SimpleNamespace(scaler=scaler),
                           lightning_module=net)  # fmt: skip


def begin(watch: FiniteWatch, number: int) -> None:
    module: Any = None
    watch.on_train_batch_start(trainer(), module, {"index": torch.tensor([number, 40])}, number)


def test_the_batch_is_named_with_its_samples() -> None:
    watch, module = FiniteWatch(), None
    begin(watch, 0)
    watch.on_before_backward(trainer(), module, torch.tensor(1.0))  # type: ignore[arg-type]
    begin(watch, 1)
    with pytest.raises(NotFinite, match=r"the loss is not finite at step 31, in epoch 2, batch 1 \(samples 1, 40\)"):
        watch.on_before_backward(trainer(), module, torch.tensor(BAD))  # type: ignore[arg-type]


def test_on_a_device_the_first_one_is_found_when_it_is_looked_at() -> None:
    """The meta device stands for one that must not be waited for; what it notes is put in by hand."""
    watch, module = FiniteWatch(), None
    for number in range(4):
        begin(watch, number)
        watch.on_before_backward(trainer(), module, torch.zeros((), device="meta"))  # type: ignore[arg-type]
    watch._first = torch.tensor(2)
    with pytest.raises(NotFinite, match="batch 2"):
        watch.look(trainer())


def test_weights_that_are_not_finite_are_not_saved() -> None:
    watch = FiniteWatch()
    watch.before_save(trainer(weight=BAD))  # as the person gave them; the first batch will say so
    begin(watch, 3)
    with pytest.raises(NotFinite, match="a gradient before is not finite at step 31"):
        watch.before_save(trainer(weight=BAD))
    watch.before_save(trainer())


@pytest.mark.parametrize("closely", [True, False])
def test_only_a_search_looks_at_gradients(closely: bool) -> None:
    watch, net = FiniteWatch(closely), nn.Linear(1, 1)
    begin(watch, 0)
    net.weight.grad = torch.full_like(net.weight, float("inf"))
    if closely:
        with pytest.raises(NotFinite, match="the gradient is not finite"):
            watch.on_after_backward(trainer(), net)  # type: ignore[arg-type]
        watch.on_after_backward(trainer(scale=2.0), net)  # type: ignore[arg-type]  # a loss scale deals with it
    else:
        watch.on_after_backward(trainer(), net)  # type: ignore[arg-type]


def test_a_loss_scale_that_collapses_is_reported() -> None:
    FiniteWatch().look(trainer(scale=1.0))
    with pytest.raises(RunFailed, match="the loss scale of fp16 has fallen to"):
        FiniteWatch().look(trainer(scale=finite.LEAST_SCALE / 2))
