"""A scheduler goes by the wrong clock.

## What

A scheduler is stepped once a batch although its length is that of epochs, once an epoch although it counts batches,
between `backward()` and the optimizer's step, not at all, or `ReduceLROnPlateau` is given the training loss though
there is a validation.

## Why

The rate falls to nothing within an epoch, goes up and down, never leaves the warm-up, or follows the wrong curve.

## Bad

```python
scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
for epoch in range(4):
    for x, y in loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
        scheduler.step()
```

## Good

```python
scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
for epoch in range(4):
    for x, y in loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
    scheduler.step()
```

## Fix

Step it where its unit ends: per batch with lengths in batches (`epochs * len(loader)`), per epoch with lengths in
epochs, always after `optimizer.step()`; give `ReduceLROnPlateau` the validation's value.

## How sure

90 %: a FAIL where it was never stepped in two epochs, or stands between backward and step; else a WARN.
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchkiln.checks.guard.known import Call, Stepping
from torchkiln.checks.guard.watch import Loss, Watch

MOST_LOSSES = 20_000


class Check:
    """Compares the steps of schedulers with those of their optimizers and with the epochs of the loader."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.known: dict[int, Known] = {}
        self.per_epoch = 0
        self.epochs = 0
        self.steps_at_epoch = 0
        self.losses: list[Tensor] = []
        self.validated = False

    def on_scheduler(self, stepping: Stepping, scheduler: Any) -> None:
        self.known[id(scheduler)] = Known(weakref.ref(scheduler), stepping)

    def on_epoch(self, loader: Any) -> None:
        if torch.is_grad_enabled():
            self.steps_at_epoch = self.watch.step
            try:
                self.per_epoch = len(loader)
            except TypeError:
                self.per_epoch = 0

    def on_epoch_end(self, loader: Any, iterator: Any) -> None:
        steps = self.watch.step - self.steps_at_epoch
        if steps < 2 or not self.per_epoch:
            return
        self.epochs += 1
        for known in self.known.values():
            if known.ref() is not None and known.taken == 0 and self.epochs == 3 and not known.inner(self.known):
                text = f"{known.name} was never stepped in {self.epochs - 1} epochs of {self.per_epoch} batches"
                self.watch.found("R514", "FAIL", text)

    def on_loss(self, loss: Loss) -> None:
        if not any(k.name == "ReduceLROnPlateau" for k in self.known.values()):
            return
        if loss.grad and loss.output.requires_grad and loss.output.ndim == 0:
            self.losses.append(loss.output.detach())
            del self.losses[:-MOST_LOSSES]

    def on_forward(self, call: Call) -> None:
        self.validated = self.validated or (not call.training and call.model.trained > 0)

    def on_schedule(self, scheduler: Any, given: Any, named: Any) -> None:
        known = self.known.get(id(scheduler))
        if known is None or known.ref() is not scheduler or not self.watch.optimizers:
            return
        stepping = known.stepping
        if known.name == "ReduceLROnPlateau":
            self._plateau(given[0] if given else named.get("metrics"))
        known.taken += 1
        known.per_batch = known.per_batch + 1 if stepping.steps - known.steps == 1 else 0
        epoch = stepping.steps - known.steps
        known.steps = stepping.steps
        if stepping.reached and stepping.steps < 4 and not stepping.skipped:
            known.between += 1
            if known.between == 2:
                text = (
                    f"{known.name} is stepped between backward() and the step of "
                    f"{stepping.name}: its first value is left out"
                )
                self.watch.found("R514", "FAIL", text)
        if self.per_epoch > 2:
            if known.per_batch == 1 and stepping.steps < self.per_epoch:
                self._by_batch(known, scheduler)
            elif epoch >= self.per_epoch and known.taken == 1:
                self._by_epoch(known, scheduler)

    def _by_batch(self, known: Known, scheduler: Any) -> None:
        """Whether one that is stepped each batch has run its course within an epoch."""
        length = getattr(scheduler, "T_max", None)
        if known.name == "CosineAnnealingLR" and length is not None and length < self.per_epoch:
            text = (f"CosineAnnealingLR(T_max={length}) is stepped every batch, of which an "
                f"epoch has {self.per_epoch}: the rate goes "
                    "down and up again within each epoch")  # fmt: skip
            self.watch.found("R514", "WARN", text)
        gamma, every = getattr(scheduler, "gamma", None), getattr(scheduler, "step_size", None)
        ends = getattr(scheduler, "milestones", None)
        falls = None
        if isinstance(gamma, float) and 0 < gamma < 1:
            times = (
                self.per_epoch / every
                if every
                else (sum(e <= self.per_epoch for e in ends) if ends else self.per_epoch)
            )
            falls = gamma**times if known.name in ("StepLR", "ExponentialLR", "MultiStepLR") else None
        if falls is not None and (falls < 0.01 or (ends and all(e <= self.per_epoch for e in ends))):
            text = (
                f"{known.name} is stepped every batch: within one epoch of "
                f"{self.per_epoch} batches the rate falls to {falls:.1g} of it"
            )
            self.watch.found("R514", "WARN", text)

    def _by_epoch(self, known: Known, scheduler: Any) -> None:
        """Whether one that is stepped each epoch counts batches."""
        length = getattr(scheduler, "total_steps", None) or getattr(scheduler, "T_max", None)
        if isinstance(length, int) and length >= 2 * self.per_epoch and length % self.per_epoch == 0:
            text = (f"{known.name} is stepped once an epoch, but is {length} steps "
                f"long, {length // self.per_epoch} epochs of "
                    f"{self.per_epoch} batches: the rate hardly moves")  # fmt: skip
            self.watch.found("R514", "WARN", text)

    def _plateau(self, metric: Any) -> None:
        losses, validated = self.losses, self.validated
        self.losses, self.validated = [], False
        if not validated or not losses or not isinstance(metric, float | int | Tensor):
            return
        value = float(metric)
        steps = torch.stack([x.float().cpu() for x in losses])
        means = [float(steps[-1]), float(steps.mean()), float(steps.sum())]
        if any(math.isclose(value, one, rel_tol=1e-5) for one in means):
            text = f"ReduceLROnPlateau is given {value:.4g}, the training loss, though the model is validated too"
            self.watch.found("R514", "WARN", text)


@dataclass(eq=False)
class Known:
    """A scheduler: how often it was stepped, and how many steps its optimizer had taken then."""

    ref: weakref.ref[Any]
    stepping: Stepping
    taken: int = 0
    steps: int = 0
    per_batch: int = 0
    between: int = 0

    @property
    def name(self) -> str:
        """Of its class."""
        return type(self.ref()).__name__

    def inner(self, known: dict[int, Known]) -> bool:
        """Whether another scheduler steps it."""
        outer = [k.ref() for k in known.values() if k is not self]
        return any(self.ref() in (getattr(o, "_schedulers", None) or ()) for o in outer)
