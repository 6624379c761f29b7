"""A running average of the weights, which validation, the best checkpoint and the test use."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor, nn


class WeightAverage(L.Callback):
    """Exponential moving average of a net's weights and floating-point buffers.

    The decay climbs as (1 + n) / (10 + n) over the first n updates, so that short runs are not held back by
    their first weights.

    Args:
        net: Whose weights.
        decay: What is kept of the average at each optimizer step.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net, self.decay = net, decay
        self.updates = 0
        self.average: dict[str, Tensor] = {}

    def live(self) -> dict[str, Tensor]:
        """The net's own tensors that are averaged, by name."""
        return {k: v for k, v in self.net.state_dict(keep_vars=False).items() if v.is_floating_point()}

    def weights(self) -> dict[str, Tensor]:
        """The net's state with the average in it."""
        return {**self.net.state_dict(), **self.average}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        live = self.live()
        start = self.average or live
        # laid out as the live tensor is, or the fused update would mix elements
        self.average = {k: torch.empty_like(v).copy_(start[k]) for k, v in live.items()}
        self._seen_step = trainer.global_step

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self._seen_step:
            return  # this batch only added its gradient
        self._seen_step = trainer.global_step
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(list(self.average.values()), list(self.live().values()), 1 - decay)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.average:
            self._swap()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.average:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, tensor in self.live().items():
            kept = tensor.clone()
            tensor.copy_(self.average[name])
            self.average[name].copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.updates, self.average = state_dict["updates"], state_dict["average"]
