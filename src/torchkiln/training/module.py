"""A task's net as a LightningModule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from torchkiln.models import adapt
from torchkiln.recipe.schema import Recipe
from torchkiln.tasks._base import Task, scores
from torchkiln.training.optimization import build_optimizer, build_scheduler


class KilnModule(L.LightningModule):
    """Steps and measures for any task; all that differs between tasks is asked of the task.

    Args:
        task: What the net does.
        net: The net.
        criterion: The loss.
        recipe: Resolved.
        monitor: The validation metric that says which epoch is best, such as `val_accuracy`.
        higher_is_better: Its direction.
        make_optimizer: The person's own function of the parameters, in place of the recipe's optimizer.
    """

    def __init__(
        self, task: Task, net: nn.Module, criterion: nn.Module, recipe: Recipe, monitor: str, higher_is_better: bool,
        make_optimizer: Callable[[Any], torch.optim.Optimizer] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._make_optimizer = make_optimizer
        self.task, self.net, self.criterion, self.recipe = task, net, criterion, recipe
        self.monitor, self.higher_is_better = monitor, higher_is_better
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.train_totals = torch.zeros(2, dtype=torch.float64)
        """Sum of the losses and count of the samples of this epoch so far; on the device while training."""
        self._seen: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer()
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = build_scheduler(optimizer, self.recipe.scheduler, steps, self.monitor, self.higher_is_better)
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def make_optimizer(self) -> torch.optim.Optimizer:
        """A fresh optimizer, with the rates that the scheduler's shares are of."""
        if self._make_optimizer:
            return self._make_optimizer(self.net.parameters())
        return build_optimizer(self.net, self.recipe.optimizer, self.recipe.train.precision)

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:  # fmt: skip
        """As Lightning's, which refuses to clip for fused optimizers; without a loss scale that is safe."""
        if gradient_clip_val is None:
            return
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if gradient_clip_algorithm == "value":
            nn.utils.clip_grad_value_(parameters, gradient_clip_val)
        else:
            nn.utils.clip_grad_norm_(parameters, gradient_clip_val)

    def on_train_epoch_start(self) -> None:
        self.train_totals = torch.zeros(2, dtype=torch.float64, device=self._totals_device())
        adapt.freeze(self.net, self.recipe.model, self.current_epoch)

    def _totals_device(self) -> torch.device:
        # MPS has no float64; there the sums live on the CPU
        return torch.device("cpu") if self.device.type == "mps" else self.device

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self.task.loss(self.criterion, self.task.forward(self.net, batch), batch)
        n = len(batch["index"])
        sums = torch.stack([loss.detach().double() * n, loss.new_tensor(n, dtype=torch.float64)])
        self.train_totals += sums.to(self.train_totals.device)
        return loss

    def on_validation_epoch_start(self) -> None:
        self._seen = []

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        output = self.task.forward(self.net, batch)
        loss = self.task.loss(self.criterion, output, batch)
        index = batch["index"].cpu()
        measured = bool(self.task.metrics())
        target = batch["target"].cpu() if measured else index
        prediction = self.task.predict(output).float().cpu() if measured else index
        self._seen.append((index, target, prediction, loss.double().cpu() * len(index)))

    def on_validation_epoch_end(self) -> None:
        """Metrics over all samples at once, each counted once however the batches and processes fell."""
        index, target, prediction, losses = zip(*self._gathered(), strict=True)
        order = np.argsort(torch.cat(index).numpy(), kind="stable")
        values = {"loss": float(sum(float(x) for x in losses)) / len(order)}
        arrays = torch.cat(target).numpy()[order], torch.cat(prediction).numpy()[order]
        values |= scores(self.task.metrics(), *arrays)
        self._seen = []
        for name, value in values.items():
            self.log(f"val_{name}", torch.tensor(value, dtype=torch.float32), batch_size=len(order))

    def _gathered(self) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        if self.trainer.world_size == 1:
            return self._seen
        parts: list[Any] = [None] * self.trainer.world_size
        dist.all_gather_object(parts, self._seen)
        return [batch for part in parts for batch in part]

    def train_loss(self) -> float:
        """Mean loss a sample over the epoch so far, over all processes."""
        totals = self.train_totals
        if self.trainer.world_size > 1:
            totals = totals.clone()
            dist.all_reduce(totals)
        return float(totals[0] / totals[1]) if totals[1] > 0 else float("nan")
