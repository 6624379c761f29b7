"""Optimizers and schedulers by the names of the recipe."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau, StepLR

from torchkiln.errors import RecipeError
from torchkiln.models.adapt import check_patterns, matches
from torchkiln.recipe.schema import Optimizer, Scheduler
from torchkiln.registry import load_object
from torchkiln.training.muon import Muon

Curve = Callable[[int], float]
"""Optimizer step to the share of the full learning rate."""


def build_optimizer(net: nn.Module, optimizer: Optimizer, precision: str = "32") -> torch.optim.Optimizer:
    """The optimizer of a recipe over all parameters of `net`, those that are frozen now included.

    Raises:
        RecipeError: A group's pattern names no parameter, or the class path does not take its arguments.
    """
    check_patterns(net, [g.match for g in optimizer.groups], "optimizer.groups")
    if optimizer.class_path:
        return _own_optimizer(net, optimizer)
    lr = optimizer.lr or 1e-3
    groups = parameter_groups(
        net, optimizer.model_copy(update={"lr": lr, "weight_decay": optimizer.weight_decay or 0.0})
    )
    betas = optimizer.betas or (0.9, 0.999)
    how = _how(optimizer.implementation, implementations(net, optimizer, precision))
    match optimizer.name:
        case "sgd":
            momentum = 0.9 if optimizer.momentum is None else optimizer.momentum
            nesterov = momentum > 0 if optimizer.nesterov is None else optimizer.nesterov
            return torch.optim.SGD(groups, lr, momentum=momentum, nesterov=nesterov, **how)
        case "muon":
            return Muon(groups, lr, momentum=0.6 if optimizer.momentum is None else optimizer.momentum)
        case "adam":
            return torch.optim.Adam(groups, lr, betas=betas, **how)
        case _:
            return torch.optim.AdamW(groups, lr, betas=betas, **how)


def implementations(net: nn.Module, optimizer: Optimizer, precision: str) -> list[str]:
    """The ways in which a recipe's optimizer can step these parameters; the first is taken where nothing is measured.

    Not fused with fp16: there a fused step takes the loss scale out of the gradients itself, behind the back of
    whoever clips them. Empty for one that has a single way, and for a class path's, which `init_args` sets.
    """
    if optimizer.class_path or optimizer.name == "muon":
        return []
    fusable = all(p.device.type in ("cpu", "cuda", "mps") and p.is_floating_point() for p in net.parameters())
    return [*(["fused"] if fusable and precision != "16" else []), "foreach", "loop"]


def _how(implementation: str, possible: list[str]) -> dict[str, Any]:
    """Torch's arguments for an implementation, or for the first that is possible in its place."""
    if implementation not in possible and possible:
        implementation = possible[0] if possible[0] == "fused" else "auto"
    return {"fused": {"fused": True}, "foreach": {"foreach": True, "fused": False},
            "loop": {"foreach": False, "fused": False}}.get(implementation, {})  # fmt: skip


def _own_optimizer(net: nn.Module, optimizer: Optimizer) -> torch.optim.Optimizer:
    """The class path's optimizer; what neither the recipe nor `init_args` says is left to its own defaults."""
    made = load_object(optimizer.class_path or "", "optimizer.class_path")
    shared = ("lr", "weight_decay")
    said = {k: v for k, v in optimizer.init_args.items() if k in shared and getattr(optimizer, k) is None}
    groups = parameter_groups(net, optimizer.model_copy(update=said))
    try:
        built: torch.optim.Optimizer = made(groups, **optimizer.init_args)
    except TypeError as error:
        raise RecipeError(f"optimizer.init_args: {optimizer.class_path} does not take them ({error})") from error
    return built


def parameter_groups(net: nn.Module, optimizer: Optimizer) -> list[dict[str, Any]]:
    """Parameters with the same learning rate and weight decay, each in one group.

    Biases, norms and other vectors get no weight decay unless a group of the recipe says so. A rate or decay
    that the recipe does not say is left out.
    """
    norms = {id(p) for m in net.modules() if "norm" in type(m).__name__.lower() for p in m.parameters(recurse=False)}
    made: dict[tuple[float | None, float | None], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        own = next((g for g in optimizer.groups if matches(name, g.match)), None)
        lr = own.lr if own and own.lr is not None else optimizer.lr
        spared = parameter.ndim <= 1 or name.endswith("bias") or id(parameter) in norms
        decay = 0.0 if spared else optimizer.weight_decay
        if own and own.weight_decay is not None:
            decay = own.weight_decay
        made.setdefault((lr, decay), []).append(parameter)
    said = [({"lr": lr, "weight_decay": decay}, parameters) for (lr, decay), parameters in made.items()]
    return [{"params": p, **{k: v for k, v in values.items() if v is not None}} for values, p in said]


def build_scheduler(
    optimizer: torch.optim.Optimizer, scheduler: Scheduler, steps: int, monitor: str, higher_is_better: bool
) -> dict[str, Any]:
    """The scheduler of a recipe, as Lightning takes it: with its interval and what it watches.

    Args:
        optimizer: Whose rates are set.
        scheduler: The recipe's part.
        steps: Optimizer steps of the whole run.
        monitor: The validation metric that `plateau` watches.
        higher_is_better: Its direction.
    """
    if scheduler.class_path:
        return _own(optimizer, scheduler, monitor)
    match scheduler.name:
        case "step":
            made: LRScheduler = StepLR(optimizer, scheduler.every or 30, scheduler.gamma or 0.1)
            return {"scheduler": made, "interval": "epoch"}
        case "plateau":
            mode: Literal["min", "max"] = "max" if higher_is_better else "min"
            patience = 3 if scheduler.patience is None else scheduler.patience
            made = ReduceLROnPlateau(optimizer, mode, factor=scheduler.gamma or 0.3, patience=patience)
            return {"scheduler": made, "interval": "epoch", "monitor": monitor}
        case _:
            return {"scheduler": LambdaLR(optimizer, curve(scheduler, steps)), "interval": "step"}


def curve(scheduler: Scheduler, steps: int) -> Curve:
    """The course of `cosine`, `linear`, `one_cycle` and `constant` over `steps`, with its warm-up.

    Beyond `steps` the rate stays where it ended.
    """
    cycle = scheduler.name == "one_cycle"
    share = scheduler.warmup if scheduler.warmup is not None else (0.3 if cycle else 0.0)
    warm = round(share * steps)
    final = scheduler.final or 0.0
    low = 1 / 25 if cycle else 0.0  # OneCycle climbs from lr/25: Smith and Topin, arXiv:1708.07120

    def at(step: int) -> float:
        if step < warm:
            return low + (1 - low) * (step + 1) / (warm + 1)
        if scheduler.name in (None, "constant", "auto"):
            return 1.0
        done = min((step - warm) / max(steps - warm, 1), 1.0)
        falling = 1 - done if scheduler.name == "linear" else (1 + math.cos(math.pi * done)) / 2
        return final + (1 - final) * falling

    return at


def _own(optimizer: torch.optim.Optimizer, scheduler: Scheduler, monitor: str) -> dict[str, Any]:
    made = load_object(scheduler.class_path or "", "scheduler.class_path")
    try:
        built = made(optimizer, **scheduler.init_args)
    except TypeError as error:
        raise RecipeError(f"scheduler.init_args: {scheduler.class_path} does not take them ({error})") from error
    watches = "metrics" in inspect.signature(built.step).parameters
    config = {"scheduler": built, "interval": scheduler.interval or "epoch"}
    return {**config, "monitor": monitor, "reduce_on_plateau": True} if watches else config
