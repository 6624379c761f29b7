"""What is known of a program's optimizers and models; held weakly, so that nothing lives longer for being watched."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer


@dataclass(eq=False)
class Stepping:
    """An optimizer.

    Args:
        ref: It.
        steps: Taken so far.
        reached: A backward gave its parameters gradients since its last step or clearing.
        lost: Such gradients were cleared, and none came since.
        backwards: Backward passes since its last step that reached it.
        skipped: A loss scale left its last step out.
        in_step: Its step runs, perhaps with a closure.
        used: Parameter to (gradient, its version) as its last step used it.
        stale: Parameters whose gradient still held a used one when another was added.
    """

    ref: weakref.ref[Optimizer]
    steps: int = 0
    reached: bool = False
    lost: bool = False
    backwards: int = 0
    skipped: bool = False
    in_step: bool = False
    used: dict[int, tuple[int, int]] = field(default_factory=dict)
    stale: set[int] = field(default_factory=set)
    schedulers: list[weakref.ref[Any]] = field(default_factory=list)

    @property
    def parameters(self) -> list[Tensor]:
        """Of all its groups, now."""
        optimizer = self.ref()
        return [p for group in optimizer.param_groups for p in group["params"]] if optimizer is not None else []

    @property
    def name(self) -> str:
        """Of its class."""
        return type(self.ref()).__name__


@dataclass(eq=False)
class Model:
    """A module with parameters that the program calls itself.

    Args:
        ref: It.
        trained: Training forwards whose backward was followed by a step.
        evaluations: Forwards without gradients or in evaluation mode.
        was_in_eval: `eval()` was in force at one of its forwards.
        inner: Modules that were called inside it, in the order of their first call.
    """

    ref: weakref.ref[nn.Module]
    trained: int = 0
    forwards: int = 0
    evaluations: int = 0
    was_in_eval: bool = False
    inner: dict[int, weakref.ref[nn.Module]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its class."""
        return type(self.ref()).__name__


@dataclass(eq=False)
class Call:
    """One forward of a model.

    Args:
        model: Of.
        training: Its mode.
        grad: Whether gradients were recorded.
        step: Steps taken before.
        inputs: Tensors among the arguments.
        output: The first tensor that it gave.
        alone: Whether it was given a tensor and nothing else.
    """

    model: Model
    training: bool
    grad: bool
    step: int
    inputs: list[weakref.ref[Tensor]]
    output: weakref.ref[Tensor] | None
    alone: bool

    @property
    def first(self) -> Tensor | None:
        """The first input that is still there."""
        return self.inputs[0]() if self.inputs else None


def tensors(value: Any, most: int = 8) -> list[Tensor]:
    """The tensors in a value, in lists, tuples and mappings too."""
    if isinstance(value, Tensor):
        return [value]
    found: list[Tensor] = []
    parts: Any = ()
    if isinstance(value, list | tuple):
        parts = value[:most]
    elif isinstance(value, dict) or hasattr(value, "items"):
        parts = [v for _, v in list(value.items())[:most]]
    for part in parts:
        found += tensors(part, most)
    return found[:most]


def stochastic(module: nn.Module) -> list[str]:
    """Names of the layers in training mode that behave otherwise in evaluation: dropout, batch normalisation."""
    found = []
    for name, layer in module.named_modules():
        norm = isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.track_running_stats
        drop = isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0
        inside = getattr(layer, "dropout", 0)
        recurrent = isinstance(layer, nn.RNNBase | nn.MultiheadAttention) and isinstance(inside, float) and inside > 0
        if layer.training and (norm or drop or recurrent):
            found.append(f"{name or 'itself'} ({type(layer).__name__})")
    return found


def names(model: nn.Module | None, parameters: list[Tensor], most: int = 3) -> str:
    """Parameters by their name in a model, or their shape."""
    known = {id(p): name for name, p in model.named_parameters()} if model is not None else {}
    said = [known.get(id(p), f"one of shape {list(p.shape)}") for p in parameters[:most]]
    more = f" and {len(parameters) - most} more" if len(parameters) > most else ""
    return ", ".join(said) + more


def content(parts: list[Tensor]) -> int | None:
    """A number for the values of a tensor, by some of them; None if there is none."""
    if not parts or parts[0].numel() == 0 or parts[0].is_complex():
        return None
    flat = parts[0].detach().flatten()
    some = flat[:: max(1, flat.numel() // 64)].cpu()
    return hash((tuple(parts[0].shape), tuple(some.tolist())))
