"""A loss that is NaN or infinite is found before its weights are kept or saved."""

from __future__ import annotations

import math
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor

from torchkiln.errors import RunFailed
from torchkiln.training.module import KilnModule

LOOK_EVERY = 50
"""Batches between two looks where looking makes the device wait."""
LEAST_SCALE = 2.0**-10
"""A loss scale below this has been halved at dozens of steps in a row: the gradients themselves are infinite."""


class NotFinite(RunFailed):
    """A batch gave a loss or gradients that are no finite numbers.

    Args:
        what: `the loss` or `the gradient`.
        epoch, batch: Where.
        step: Optimizer step that it would have been part of.
        samples: Indices of the batch's samples, where known.
    """

    def __init__(self, what: str, epoch: int, batch: int, step: int, samples: list[int]) -> None:
        self.epoch, self.batch, self.step = epoch, batch, step
        self.what = what
        listed = ", ".join(str(i) for i in samples[:8]) + (", ..." if len(samples) > 8 else "")
        self.of = f" (samples {listed})" if samples else ""
        super().__init__(
            f"{what} is not finite at step {step}, in epoch {epoch}, batch {batch}{self.of}; what was saved is good; "
            "lower optimizer.lr, set train.clip.norm or train.precision=32, look at these samples, or begin a new run "
            "with train.not_finite=skip"
        )


class FiniteWatch(L.Callback):
    """Stops training at a batch whose loss is not finite.

    On the CPU each batch is looked at; on a device, where looking would make it wait, the place of the first
    one is noted there, and read every so often, before a validation and before a save.

    Args:
        closely: Look at every batch, and at its gradients: what a life does that searches for the culprit.
    """

    def __init__(self, closely: bool = False) -> None:
        self.closely = closely
        self._seen: list[tuple[int, int, int, Tensor | None]] = []
        self._first: Tensor | None = None
        self._in_parts = False

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if len(self._seen) >= LOOK_EVERY:
            self.look(trainer)
        index = batch.get("index") if isinstance(batch, dict) else None
        samples = index if isinstance(index, Tensor) else None  # read only if the batch is to be named
        self._seen.append((trainer.current_epoch, batch_idx, trainer.global_step, samples))

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        # Where a batch is computed in parts, this is the loss of the first; the whole is known behind the backward.
        self._in_parts = isinstance(pl_module, KilnModule) and pl_module.step_loss is None
        if not self._in_parts:
            self._note(loss)

    def _note(self, loss: Tensor) -> None:
        if loss.device.type == "cpu" or self.closely:
            if not math.isfinite(float(loss.detach())):
                raise self._found("the loss", len(self._seen) - 1)
            return
        bad = ~torch.isfinite(loss.detach())
        if self._first is None:
            self._first = torch.full((), -1, dtype=torch.int64, device=loss.device)
        place = len(self._seen) - 1
        self._first = torch.where(bad & (self._first < 0), place, self._first)

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._in_parts and isinstance(pl_module, KilnModule) and pl_module.step_loss is not None:
            self._note(pl_module.step_loss)
        if not self.closely or _scaler(trainer) is not None:  # with a loss scale, infinite gradients are its business
            return
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        if gradients and not bool(torch.isfinite(torch.stack(torch._foreach_norm(gradients))).all()):
            raise self._found("the gradient", len(self._seen) - 1)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.look(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.look(trainer)

    def before_save(self, trainer: L.Trainer) -> None:
        """Let no weights be saved that are not finite: their gradient may have been so where the loss was not.

        Raises:
            NotFinite: They are not, or a loss was not.
            RunFailed: As for `look`.
        """
        weights = [p.detach() for p in trainer.lightning_module.parameters()]
        if self._seen and weights and not bool(torch.isfinite(torch.stack(torch._foreach_norm(weights))).all()):
            raise self._found("a gradient before", len(self._seen) - 1)
        self.look(trainer)

    def look(self, trainer: L.Trainer) -> None:
        """Read what the device has noted.

        Raises:
            NotFinite: A batch since the last look was not.
            RunFailed: The loss scale has collapsed.
        """
        first = -1 if self._first is None else int(self._first)
        if first >= 0:
            raise self._found("the loss", first)
        self._seen = []
        scaler = _scaler(trainer)
        if scaler is not None and scaler.get_scale() < LEAST_SCALE:
            raise RunFailed(f"the loss scale of fp16 has fallen to {scaler.get_scale():.2g}, since the gradients of "
                            "many steps in a row were not finite; set train.precision to bf16 or 32, or lower "
                            "optimizer.lr")  # fmt: skip

    def _found(self, what: str, place: int) -> NotFinite:
        epoch, batch, step, index = self._seen[place]
        return NotFinite(what, epoch, batch, step, [] if index is None else index.tolist())


def _scaler(trainer: L.Trainer) -> Any:
    return getattr(trainer.precision_plugin, "scaler", None)
