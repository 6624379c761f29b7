"""Losses by the names of the recipe."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from torchkiln.errors import RecipeError
from torchkiln.models import losses
from torchkiln.recipe.schema import Loss

OUTPUT = torch.tensor([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]])
TARGET = torch.tensor([0, 2])
LABELS = np.array([0, 0, 0, 1, 2, 2])


def value(loss: Loss) -> float:
    return float(losses.build(loss, "cross_entropy", LABELS, 3)(OUTPUT, TARGET))


def test_cross_entropy_with_its_options() -> None:
    assert value(Loss()) == pytest.approx(float(F.cross_entropy(OUTPUT, TARGET)))
    smoothed = F.cross_entropy(OUTPUT, TARGET, label_smoothing=0.1)
    assert value(Loss(name="cross_entropy", label_smoothing=0.1)) == pytest.approx(float(smoothed))
    weights = torch.tensor([1.0, 2.0, 3.0])
    assert value(Loss(class_weights=[1.0, 2.0, 3.0])) == pytest.approx(float(F.cross_entropy(OUTPUT, TARGET, weights)))


def test_balanced_weights_are_inverse_to_the_counts() -> None:
    weights = torch.tensor([6 / 9, 6 / 3, 6 / 6])
    assert value(Loss(class_weights="balanced")) == pytest.approx(float(F.cross_entropy(OUTPUT, TARGET, weights)))


def test_nll_and_one_versus_rest_take_a_nets_plain_outputs() -> None:
    assert value(Loss(name="nll")) == pytest.approx(float(F.cross_entropy(OUTPUT, TARGET)))
    wanted = F.binary_cross_entropy_with_logits(OUTPUT, F.one_hot(TARGET, 3).float())
    assert value(Loss(name="bce_with_logits")) == pytest.approx(float(wanted))


@pytest.mark.parametrize(("name", "wanted"), [("mse", 2.5), ("l1", 1.5), ("smooth_l1", 1.0)])
def test_losses_of_numbers(name: str, wanted: float) -> None:
    loss = losses.build(Loss(name=name), "mse", np.zeros(2, np.float32), None)  # type: ignore[arg-type]
    assert float(loss(torch.tensor([1.0, 4.0]), torch.tensor([0.0, 2.0]))) == pytest.approx(wanted)


def test_a_loss_that_does_not_fit_the_target_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"loss.name: 'mse' does not fit a target of classes"):
        value(Loss(name="mse"))
    with pytest.raises(RecipeError, match="2 weights for 3 classes"):
        value(Loss(class_weights=[1.0, 2.0]))


@pytest.mark.parametrize("name", ["triplet_margin", "cosine_embedding", "nll", "bce_with_logits", "cross_entropy"])
def test_a_persons_net_gets_pytorchs_own(name: str) -> None:
    assert type(losses.plain(Loss(name=name), name)).__module__ == "torch.nn.modules.loss"  # type: ignore[arg-type]


def test_a_class_path_and_a_function_are_losses() -> None:
    loss = losses.build(Loss(class_path="torch.nn.MultiMarginLoss", init_args={"p": 2}), "cross_entropy", LABELS, 3)
    assert isinstance(loss, nn.MultiMarginLoss) and loss.p == 2
    function = losses.build(Loss(class_path="torch.nn.functional.cross_entropy"), "cross_entropy", LABELS, 3)
    assert float(function(OUTPUT, TARGET)) == pytest.approx(float(F.cross_entropy(OUTPUT, TARGET)))
    with pytest.raises(RecipeError, match="does not take them"):
        losses.from_class_path(Loss(class_path="torch.nn.MSELoss", init_args={"bogus": 1}))
