"""AdamW for nets with embeddings of many rows, of which a batch touches few."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class RowAdamW(Optimizer):
    """AdamW that, for a sparse gradient, steps only the rows that have one.

    A row's moments stand still while it is not met ("lazy" Adam, as `torch.optim.SparseAdam`), and weight
    decay falls on the rows that are stepped. Dense gradients are stepped as by `torch.optim.AdamW`.

    Args:
        params: Parameters or groups.
        lr: Learning rate.
        betas: Decay of the two moments.
        eps: Added to the root of the second moment.
        weight_decay: Decoupled, times the learning rate.

    References:
        Loshchilov, Hutter, "Decoupled weight decay regularization", arXiv:1711.05101.
    """

    def __init__(
        self, params: Any, lr: float, *, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Step once; returns the closure's loss, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step_one(parameter, parameter.grad, group)
        return loss

    def _step_one(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        if gradient.is_sparse:
            gradient = gradient.coalesce()
            rows, values = gradient.indices()[0], gradient.values()
            parts = [parameter[rows], state["exp_avg"][rows], state["exp_avg_sq"][rows]]
            _adamw(*parts, values, float(state["step"]), group)
            for whole, part in zip((parameter, state["exp_avg"], state["exp_avg_sq"]), parts, strict=True):
                whole[rows] = part
        else:
            _adamw(parameter, state["exp_avg"], state["exp_avg_sq"], gradient, float(state["step"]), group)


def _adamw(
    weight: Tensor, mean: Tensor, square: Tensor, gradient: Tensor, step: float, group: dict[str, Any]
) -> None:
    """Step `weight`, `mean` and `square` in place."""
    beta1, beta2 = group["betas"]
    weight.mul_(1 - group["lr"] * group["weight_decay"])
    mean.lerp_(gradient, 1 - beta1)
    square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    size = group["lr"] / (1 - beta1**step)
    root = (square / (1 - beta2**step)).sqrt_().add_(group["eps"])
    weight.addcdiv_(mean, root, value=-size)
