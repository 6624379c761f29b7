"""An average of the weights over steps or epochs, which validation, the best checkpoint and the test use."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor, nn

from torchkiln.recipe.training import Train


class WeightAverage(L.Callback):
    """Keeps an average of a net's weights and floating-point buffers beside them.

    Required: `due`, which says how much of the average the live weights replace after a batch.

    Args:
        net: Whose weights.
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self.updates = 0
        self.average: dict[str, Tensor] = {}

    def due(self, trainer: L.Trainer) -> float | None:
        """The live weights' share of the new average; None: the average stays as it is."""
        raise NotImplementedError

    def is_in_use(self) -> bool:
        """Whether validation is to see the average."""
        return bool(self.average)

    def live(self) -> dict[str, Tensor]:
        """The net's own tensors that are averaged, by name."""
        return {k: v for k, v in self.net.state_dict(keep_vars=False).items() if v.is_floating_point()}

    def weights(self) -> dict[str, Tensor]:
        """The net's state with the average in it."""
        return {**self.net.state_dict(), **self.average} if self.is_in_use() else self.net.state_dict()

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
        share = self.due(trainer)
        if share is not None:
            self.updates += 1
            torch._foreach_lerp_(list(self.average.values()), list(self.live().values()), share)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.is_in_use():
            self._swap()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.is_in_use():
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


class MovingAverage(WeightAverage):
    """Exponential moving average over the optimizer steps.

    The decay climbs as (1 + n) / (10 + n) over the first n updates, so that short runs are not held back by
    their first weights.

    Args:
        net: Whose weights.
        decay: What is kept of the average at each optimizer step.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        super().__init__(net)
        self.decay = decay

    def due(self, trainer: L.Trainer) -> float | None:
        return 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))


class StochasticAverage(WeightAverage):
    """Stochastic weight averaging: the mean of the weights at the ends of the later epochs, each counted once.

    Buffers such as the statistics of batch normalisation are averaged too, in place of another pass over the
    data. Source: Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization (2018).

    Args:
        net: Whose weights.
        start: Share of the run behind which epochs count.
    """

    def __init__(self, net: nn.Module, start: float) -> None:
        super().__init__(net)
        self.start = start

    def due(self, trainer: L.Trainer) -> float | None:
        if not trainer.is_last_batch:
            return None
        epochs, steps = trainer.max_epochs or -1, trainer.max_steps
        by_epochs = epochs > 0 and trainer.current_epoch >= self.start * epochs
        late = by_epochs or (steps > 0 and trainer.global_step >= self.start * steps)
        return 1 / (self.updates + 1) if late else None

    def is_in_use(self) -> bool:
        return self.updates > 0


def average_of(net: nn.Module, train: Train) -> WeightAverage | None:
    """The average that a recipe asks for."""
    if train.ema:
        return MovingAverage(net, train.ema)
    return None if train.swa is None else StochasticAverage(net, train.swa)
