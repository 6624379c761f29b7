"""A net made ready for the person's recipe: initialisation, freezing, gradient checkpointing, eval mode."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from torchkiln.errors import RecipeError
from torchkiln.recipe.schema import Model
from torchkiln.recipe.section import Part
from torchkiln.registry import did_you_mean, load_object


def matches(name: str, pattern: str) -> bool:
    """Whether a parameter's name is meant: `backbone` means all below it, `*` stands for anything."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, pattern + ".*")


def check_patterns(net: nn.Module, patterns: Sequence[str], where: str) -> None:
    """Each pattern must name a parameter.

    Raises:
        RecipeError: One names none; says what the net has.
    """
    names = [n for n, _ in net.named_parameters()]
    for pattern in patterns:
        if not any(matches(n, pattern) for n in names):
            stems = {".".join(n.split(".")[:k]) for n in names for k in (1, 2)}
            raise RecipeError(f"{where}: no parameter is called {pattern!r}{did_you_mean(pattern, stems)}")


def frozen_patterns(model: Model) -> list[str]:
    """What the recipe freezes, before anything is unfrozen."""
    return [model.freeze] if isinstance(model.freeze, str) else list(model.freeze or [])


def freeze(net: nn.Module, model: Model, epoch: int) -> None:
    """Set which parameters train in `epoch`: a function of the epoch, so that a resume finds the same.

    A module all of whose parameters are frozen is put into eval mode: batch normalisation would else go
    on changing its statistics, and dropout would disturb fixed features.
    """
    frozen = frozen_patterns(model)
    if not frozen:
        return
    thawed = [u.match for u in model.unfreeze if u.epoch <= epoch]
    for name, parameter in net.named_parameters():
        is_frozen = any(matches(name, p) for p in frozen) and not any(matches(name, p) for p in thawed)
        parameter.requires_grad_(not is_frozen)
    for module in net.modules():
        own = list(module.parameters())
        if own and net.training:
            module.train(any(p.requires_grad for p in own))


def initialise(net: nn.Module, scheme: str) -> None:
    """Fill the weights of linear and convolution layers by scheme, their biases with zero.

    Args:
        net: Changed in place; the global generator is drawn from.
        scheme: A name of the recipe's `model.init`.
    """
    fill: Any = {
        "kaiming_normal": functools.partial(nn.init.kaiming_normal_, nonlinearity="relu"),
        "kaiming_uniform": functools.partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
        "xavier_normal": nn.init.xavier_normal_,
        "xavier_uniform": nn.init.xavier_uniform_,
        "trunc_normal": functools.partial(nn.init.trunc_normal_, std=0.02),
        "orthogonal": nn.init.orthogonal_,
    }[scheme]
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            fill(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def build_head(head: Part, in_features: int, out_features: int) -> nn.Module:
    """The person's own head, made with `in_features` and `out_features` beside its `init_args`."""
    if not head.class_path:
        raise RecipeError("model.head: give class_path and init_args")
    made = load_object(head.class_path, "model.head.class_path")
    try:
        module: nn.Module = made(in_features=in_features, out_features=out_features, **head.init_args)
    except TypeError as error:
        raise RecipeError(f"model.head: {head.class_path} must take in_features and out_features ({error})") from error
    return module


def checkpoint_gradients(net: nn.Module) -> list[str]:
    """Compute the activations of the net's repeated blocks again in the backward pass.

    Blocks are the children of each `nn.Sequential` or `nn.ModuleList` that holds at least two modules
    with parameters; Hugging Face nets are asked to do it themselves.

    Returns:
        The names of the blocks.

    Raises:
        RecipeError: The net has no such blocks.
    """
    inner: Any = getattr(net, "backbone", net)
    if hasattr(inner, "gradient_checkpointing_enable"):
        inner.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        return [type(inner).__name__]
    wrapped: list[str] = []
    for name, module in net.named_modules():
        inside = any(name.startswith(w + ".") for w in wrapped)
        children = [(n, c) for n, c in module.named_children() if any(True for _ in c.parameters())]
        if not inside and isinstance(module, nn.Sequential | nn.ModuleList) and len(children) > 1:
            for child_name, child in children:
                _recompute(child)
                wrapped.append(f"{name}.{child_name}" if name else child_name)
    if not wrapped:
        raise RecipeError("model.checkpoint_gradients: the net has no blocks (nn.Sequential or nn.ModuleList of "
                          "two or more) to compute again")  # fmt: skip
    return wrapped


def _recompute(block: nn.Module) -> None:
    """Give the block a class of its own whose forward is checkpointed: names and copies stay as they are."""
    plain = type(block)

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if not (self.training and torch.is_grad_enabled()):
            return plain.forward(self, *args, **kwargs)
        return checkpoint(functools.partial(plain.forward, self), *args, use_reentrant=False, **kwargs)

    block.__class__ = type(plain.__name__, (plain,), {"forward": forward})


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Eval mode inside; each module's own mode afterwards, for a frozen part may not train around it."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
