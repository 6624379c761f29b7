"""A net of the person's own, by class path."""

from __future__ import annotations

from torch import nn

from torchkiln.errors import ModelError
from torchkiln.recipe.schema import Model
from torchkiln.registry import load_object


def build(model: Model) -> nn.Module:
    """The net that `class_path` names, made with `init_args`.

    Raises:
        ModelError: It cannot be imported, does not take the arguments, or is no `nn.Module`.
    """
    assert model.class_path
    made = load_object(model.class_path, "model.class_path")
    try:
        net = made(**model.init_args)
    except TypeError as error:
        raise ModelError(f"model.init_args: {model.class_path} does not take them ({error})") from error
    if not isinstance(net, nn.Module):
        raise ModelError(f"model.class_path: {model.class_path} gives a {type(net).__name__}, not an nn.Module")
    return net
