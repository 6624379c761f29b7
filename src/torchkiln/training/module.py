"""A task's net as a LightningModule."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from torchkiln.data.loader import SKIPPED
from torchkiln.models import adapt
from torchkiln.recipe.schema import Recipe
from torchkiln.runs.decisions import Decision, Decisions
from torchkiln.tasks._base import Task, scores
from torchkiln.training import parts
from torchkiln.training.elastic import Shards
from torchkiln.training.optimization import build_optimizer, build_scheduler
from torchkiln.training.processes import gathered

READ_EVERY = 50
"""Batches between two reads of losses from the device."""
PLAIN = (str, bool, type(None), list, tuple)


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
        self._totals = (0.0, 0)
        self._unread: list[tuple[Tensor, int, int]] = []
        """Losses that the device still holds: the value, how often it counts, and how many samples it is of."""
        self._uncounted: list[Tensor] = []
        self.decisions: Decisions | None = None
        """What the run decided: in how many parts to compute a batch."""
        self.shards: Shards | None = None
        """Where gradients are added in a fixed order over processes."""
        self.compiled: tuple[nn.Module, ...] = ()
        """The compiled net, if there is one: in a tuple, so that it is no part of this module with names of its own."""
        self.step_loss: Tensor | None = None
        """Mean loss a sample of the last batch, over all its parts."""
        self._cut: list[tuple[Any, float]] = []
        self._whole = True
        self._means: list[Tensor] = []
        self._factor: list[Tensor] = []
        self._seen: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes at each of some 30 hooks a step which one runs, and nn.Module looks through parameters,
        # buffers and modules for whatever is set.
        if type(value) in PLAIN and name in self.__dict__:
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    @property
    def train_totals(self) -> Tensor:
        """Sum of the losses and count of the samples of this epoch so far, float64 [2]; reads from the device."""
        self._read()
        return torch.tensor(self._totals, dtype=torch.float64)

    @train_totals.setter
    def train_totals(self, totals: Tensor) -> None:
        self._unread, self._uncounted = [], []
        self._totals = (float(totals[0]), int(totals[1]))

    def _read(self) -> None:
        """Add what was not read yet, one batch after the other, so that when it is read is no part of the sum."""
        loss, count = self._totals
        values = torch.stack([mean for mean, _, _ in self._unread]).tolist() if self._unread else []
        for value, (_, times, samples) in zip(values, self._unread, strict=True):
            loss, count = loss + value * times, count + samples
        count += sum(int(n) for n in torch.stack(self._uncounted).tolist()) if self._uncounted else 0
        self._totals, self._unread, self._uncounted = (loss, count), [], []

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer()
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = build_scheduler(optimizer, self.recipe.scheduler, steps, self.monitor, self.higher_is_better)
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def make_optimizer(self) -> torch.optim.Optimizer:
        """A fresh optimizer, with the rates that the scheduler's shares are of."""
        return self.optimizer_of(self.net)

    def optimizer_of(self, net: nn.Module) -> torch.optim.Optimizer:
        """The same for a copy of the net."""
        if self._make_optimizer:
            return self._make_optimizer(net.parameters())
        return build_optimizer(net, self.recipe.optimizer, self.recipe.train.precision)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """As the optimizer's own, without its entries for a profiler."""
        if type(optimizer).zero_grad is not torch.optim.Optimizer.zero_grad:
            return optimizer.zero_grad()
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
        return None

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
        self._totals, self._unread, self._uncounted = (0.0, 0), [], []
        adapt.freeze(self.net, self.recipe.model, self.current_epoch)

    def _totals_device(self) -> torch.device:
        # MPS has no float64; there sums are made on the CPU
        return torch.device("cpu") if self.device.type == "mps" else self.device

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """As Lightning's, which copies the containers of a batch even where it has nowhere to go."""
        return batch if device.type == "cpu" else super().transfer_batch_to_device(batch, device, dataloader_idx)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.step_loss = None  # else a batch that is left out would show the loss of the one before

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of the batch, or of its first part; `backward` does the others."""
        self._means, self._factor = [], []
        self._note_skipped(batch.pop(SKIPPED, None))
        # The last batch of an epoch may be smaller, and a graph of its own would cost more than it saves.
        self._whole = len(batch["index"]) == self.recipe.train.batch_size
        self._cut = self._parts_of(batch, batch_idx)
        loss = self._part_loss(0)
        if len(self._cut) > 1 or self.shards:
            # What Lightning, a loss scale and the order multiply the first part's loss with, the others need too.
            loss.register_hook(self._factor.append)  # type: ignore[no-untyped-call]
        else:
            self._sum_up()
        return loss

    # Lightning looks at the signature before each step; what is attached need not be worked out again.
    training_step.__signature__ = inspect.signature(training_step)  # type: ignore[attr-defined]

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        if self.shards:
            self.shards.set_aside(self.net)
        loss.backward(*args, **kwargs)  # type: ignore[no-untyped-call]
        for number in range(len(self._cut)):
            if number:
                with self.trainer.precision_plugin.train_step_context():
                    again = self._part_loss(number)
                again.backward(self._factor[0])  # type: ignore[no-untyped-call]
            if self.shards:
                self.shards.take(self.net)
        if self.shards:
            self.shards.add_up(self.net)
        if len(self._cut) > 1 or self.shards:
            self._sum_up()
        self._cut = []

    def _parts_of(self, batch: Any, batch_idx: int) -> list[tuple[Any, float]]:
        """The parts of a batch, and what the mean loss of each counts."""
        if self.shards:
            return [(part, self.shards.weight(part, batch_idx)) for part in self.shards.of(batch, batch_idx)]
        decided = self.decisions is not None and self.decisions.made
        count = self.decisions.parts(self.trainer.global_step) if self.decisions and decided else 1
        if count == 1:
            return [(batch, 1.0)]
        cut = parts.split(batch, parts.even(len(batch["index"]), count))
        return [(part, parts.share(self.criterion, part, batch)) for part in cut]

    def _note_skipped(self, skipped: Tensor | None) -> None:
        """Samples that could not be read stay out of this epoch in any replay."""
        if skipped is not None and self.decisions:
            indices = skipped.tolist()
            text = f"samples {', '.join(map(str, indices))} of the training split cannot be read and are left out"
            step = self.trainer.global_step
            self.decisions.add(Decision("skip_samples", step, text, epoch=self.current_epoch, value=indices))

    def _part_loss(self, number: int) -> Tensor:
        part, weight = self._cut[number]
        if self.shards:
            self.shards.begin(self.net, self.current_epoch, self.trainer.fit_loop.epoch_loop.batch_idx, number)
        net = self.compiled[0] if self.compiled and self._whole else self.net
        mean = self.task.loss(self.criterion, self.task.forward(net, part), part)
        self._means.append(mean.detach())
        return mean if weight == 1.0 else mean * weight

    def _sum_up(self) -> None:
        """Keep the loss of the batch for the epoch's totals, its parts added in their order."""
        if len(self._cut) == 1 and not self.shards:
            self.step_loss = self._means[0]
            count = len(self._cut[0][0]["index"])
            self._unread.append((self.step_loss, count, count))
        else:
            batch = self._over_parts()
            self.step_loss = batch[0] / batch[1]
            self._unread.append((batch[0], 1, 0))
            self._uncounted.append(batch[1])
        if len(self._unread) >= READ_EVERY:
            self._read()

    def _over_parts(self) -> Tensor:
        """Sum of the losses and count of the samples of a batch in several parts, float64 [2]."""
        counts = [len(part["index"]) for part, _ in self._cut]
        means = [mean.to(self._totals_device()).double() for mean in self._means]
        rows = [torch.stack([mean * n, mean.new_tensor(n)]) for mean, n in zip(means, counts, strict=True)]
        if self.shards:
            rows = list(self.shards.gather(torch.stack(rows)))
        batch = rows[0]
        for row in rows[1:]:
            batch = batch + row
        return batch

    def on_validation_epoch_start(self) -> None:
        self._seen = []

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        count = self.decisions.parts(self.trainer.global_step, "eval_parts") if self.decisions else 1
        for part in parts.split(batch, parts.even(len(batch["index"]), count)):
            output = self.task.forward(self.net, part)
            loss = self.task.loss(self.criterion, output, part)
            index = part["index"].cpu()
            measured = bool(self.task.metrics())
            target = part["target"].cpu() if measured else index
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
        """The validation batches of all processes, in an order that is the same on any number of them."""
        found = [batch for one in gathered(self._seen, self.trainer.world_size) for batch in one]
        return sorted(found, key=lambda batch: int(batch[0][0]))

    def train_loss(self) -> float:
        """Mean loss a sample over the epoch so far, over all processes."""
        totals = self.train_totals
        if self.trainer.world_size > 1 and not self.shards:
            totals = totals.to(self.device)
            dist.all_reduce(totals)
        return float(totals[0] / totals[1]) if totals[1] > 0 else float("nan")
