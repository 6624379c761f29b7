"""Muon: steps of equal size in all directions of a weight matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

LEAST_SIDE = 32
"""Matrices with a shorter side below this, such as a head for few classes, are stepped by AdamW."""

_QUINTIC = (3.4445, -4.7750, 2.0315)  # brings singular values near 1 in few rounds


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for convolution filters and large matrices, AdamW for all else.

    The averaged gradient of a matrix is replaced by the nearest orthogonal one, so that rare directions
    learn as fast as common ones. The weights are kept at the length they have by the usual initialisation
    (one for each output): before a norm their length has no meaning, and the rate alone then says how far
    a step turns them.

    Args:
        params: Parameters or groups; a group's `lr` holds for whichever of the two kinds it has.
        lr: Share of a filter's own length that a step moves it.
        momentum: Of the orthogonalised steps, Nesterov's.
        weight_decay, betas, eps: Of AdamW.
        rounds: Of the Newton-Schulz iteration.

    References:
        Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024,
        https://kellerjordan.github.io/posts/muon.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.1,
        *,
        momentum: float = 0.6,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        rounds: int = 3,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "betas": betas,
                    "eps": eps, "rounds": rounds}  # fmt: skip
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step for all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    kind = self._turn if is_matrix(parameter) else self._adam
                    kind(parameter, parameter.grad, group)
        return loss

    def _turn(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        average = state["momentum"].mul_(group["momentum"]).add_(gradient)
        ahead = gradient.add(average, alpha=group["momentum"])
        turn = orthogonal(ahead.flatten(1), group["rounds"]).view_as(parameter)
        parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
        parameter.add_(turn, alpha=-group["lr"])

    def _adam(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state.update(step=torch.zeros(()), first=torch.zeros_like(parameter), second=torch.zeros_like(parameter))
        state["step"] += 1
        steps, (beta1, beta2) = int(state["step"]), group["betas"]
        state["first"].lerp_(gradient, 1 - beta1)
        state["second"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        scale = (state["second"] / (1 - beta2**steps)).sqrt_().add_(group["eps"])
        parameter.addcdiv_(state["first"], scale, value=-group["lr"] / (1 - beta1**steps))


def is_matrix(parameter: Tensor) -> bool:
    """Whether a parameter's steps are orthogonalised."""
    return parameter.ndim >= 2 and min(len(parameter), parameter[0].numel()) >= LEAST_SIDE


def orthogonal(matrix: Tensor, rounds: int) -> Tensor:
    """Nearly the nearest matrix with orthonormal rows or columns; singular values within about 0.7 to 1.2.

    Args:
        matrix: Of shape [M, N].
        rounds: Of a quintic Newton-Schulz iteration, computed in bfloat16.
    """
    a, b, c = _QUINTIC
    x = matrix.bfloat16()
    x = x / (x.norm() + 1e-7)
    wide = x if x.shape[0] <= x.shape[1] else x.T
    for _ in range(rounds):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    near: Tensor = wide if x.shape[0] <= x.shape[1] else wide.T
    return near.to(matrix.dtype)
