"""Losses by the names of the recipe."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchkiln.errors import RecipeError
from torchkiln.recipe.schema import Loss
from torchkiln.registry import load_object

FOR_CLASSES = ("cross_entropy", "bce_with_logits", "nll")
FOR_NUMBERS = ("mse", "l1", "smooth_l1")


def build(loss: Loss, default: str, train_target: npt.NDArray[Any], classes: int | None) -> nn.Module:
    """The loss of a built-in task, mean over samples.

    Args:
        loss: The recipe's part.
        default: The name where the recipe gives none.
        train_target: int64 classes or float32 numbers of the training split, for balanced weights.
        classes: How many; None for numbers.

    Returns:
        A module that takes (output [n, classes] or [n], target [n]).

    Raises:
        RecipeError: The loss does not fit the task, or the class weights do not fit the classes.
    """
    if loss.class_path:
        return from_class_path(loss)
    name = default if loss.name in (None, "auto") else loss.name
    fitting = FOR_CLASSES if classes else FOR_NUMBERS
    if name not in fitting:
        what = "classes" if classes else "numbers"
        raise RecipeError(f"loss.name: {name!r} does not fit a target of {what}; known are {', '.join(fitting)}")
    weights = _class_weights(loss, train_target, classes) if classes else None
    match name:
        case "cross_entropy":
            return nn.CrossEntropyLoss(weights, label_smoothing=loss.label_smoothing or 0.0)
        case "nll":
            return _LogSoftmaxNll(weights)
        case "bce_with_logits":
            return _OneVersusRest(weights)
        case _:
            return plain(loss, name)


def plain(loss: Loss, name: str) -> nn.Module:
    """PyTorch's own loss of that name, as a person's own net needs it.

    Args:
        loss: The recipe's part, for `margin`, `beta`, `label_smoothing` and listed class weights.
        name: A loss of the recipe.
    """
    weight = torch.tensor(loss.class_weights) if isinstance(loss.class_weights, list) else None
    if loss.class_weights == "balanced":
        raise RecipeError("loss.class_weights: 'balanced' needs a built-in task's labels; list the weights")
    match name:
        case "cross_entropy":
            return nn.CrossEntropyLoss(weight, label_smoothing=loss.label_smoothing or 0.0)
        case "nll":
            return nn.NLLLoss(weight)
        case "bce_with_logits":
            return nn.BCEWithLogitsLoss(weight)
        case "mse":
            return nn.MSELoss()
        case "l1":
            return nn.L1Loss()
        case "smooth_l1":
            return nn.SmoothL1Loss(beta=loss.beta or 1.0)
        case "triplet_margin":
            return nn.TripletMarginLoss(margin=1.0 if loss.margin is None else loss.margin)
        case "cosine_embedding":
            return nn.CosineEmbeddingLoss(margin=loss.margin or 0.0)
    raise AssertionError(name)


def from_class_path(loss: Loss) -> nn.Module:
    """The person's own loss: a module class, or a function of (output, target)."""
    assert loss.class_path
    made = load_object(loss.class_path, "loss.class_path")
    if isinstance(made, type):
        try:
            made = made(**loss.init_args)
        except TypeError as error:
            raise RecipeError(f"loss.init_args: {loss.class_path} does not take them ({error})") from error
    return as_module(made)


def as_module(loss: Any) -> nn.Module:
    """A loss that is a function becomes a module; a module stays what it is."""
    return loss if isinstance(loss, nn.Module) else _Function(loss)


class _Function(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Tensor:
        result: Tensor = self.function(*args)
        return result


class _LogSoftmaxNll(nn.Module):
    def __init__(self, weights: Tensor | None) -> None:
        super().__init__()
        self.nll = nn.NLLLoss(weights)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        result: Tensor = self.nll(F.log_softmax(output.float(), dim=-1), target)
        return result


class _OneVersusRest(nn.Module):
    """Binary cross entropy of each class against the others."""

    def __init__(self, weights: Tensor | None) -> None:
        super().__init__()
        self.bce = nn.BCEWithLogitsLoss(weights)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        result: Tensor = self.bce(output.float(), F.one_hot(target, output.shape[-1]).float())
        return result


def _class_weights(loss: Loss, target: npt.NDArray[Any], classes: int) -> Tensor | None:
    if loss.class_weights is None:
        return None
    if loss.class_weights == "balanced":
        counts = np.maximum(np.bincount(target, minlength=classes), 1)
        return torch.tensor(len(target) / (classes * counts), dtype=torch.float32)
    if len(loss.class_weights) != classes:
        raise RecipeError(f"loss.class_weights: {len(loss.class_weights)} weights for {classes} classes; give one "
                          "a class, in the order of their sorted names")  # fmt: skip
    return torch.tensor(loss.class_weights, dtype=torch.float32)
