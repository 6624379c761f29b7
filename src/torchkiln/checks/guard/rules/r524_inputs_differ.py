"""Training and evaluation see inputs of different scale.

## What

The inputs of the evaluation are scaled otherwise than those of the training, as where one is normalised and the other
is not; or inputs are raw pixels from 0 to 255.

## Why

The model is tested on what it has never seen: its score is near chance though the training went well.

## Bad

```python
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
model.eval()
with torch.no_grad():
    for x, y in val_loader:
        hits = (model(x * 255).argmax(1) == y).sum()
```

## Good

```python
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
model.eval()
with torch.no_grad():
    for x, y in val_loader:
        hits = (model(x).argmax(1) == y).sum()
```

## Fix

Use one function for what turns raw data into inputs, in training, evaluation and service.

## How sure

95 % where the scale differs by a factor of 20 or more. Raw pixels, and pixels that seem normalised twice, are a WARN.
"""

from __future__ import annotations

import math

from torch import Tensor

from torchkiln.checks.guard.known import Call
from torchkiln.checks.guard.watch import Watch

LOOKS, FACTOR = 3, 20


class Check:
    """Compares mean and spread of the first inputs of training and evaluation."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.training: dict[tuple[int, ...], list[tuple[float, float]]] = {}
        self.looked: dict[int, int] = {}

    def on_forward(self, call: Call) -> None:
        x = call.first
        if x is None or not x.is_floating_point() or x.numel() < 16 or x.ndim < 2:
            return
        trains = call.training and call.grad
        if (trains and self.watch.step >= LOOKS) or (not trains and not call.model.trained):
            return
        key = (id(call.model), x.ndim, *(x.shape[1:2] if x.ndim > 2 else x.shape[1:]))
        if trains:
            self._pixels(x)
            self.training.setdefault(key, []).append(_scale(x))
        elif key in self.training and self.looked.get(id(call.model), 0) < LOOKS:
            self.looked[id(call.model)] = self.looked.get(id(call.model), 0) + 1
            self._compare(self.training[key], _scale(x))

    def _pixels(self, x: Tensor) -> None:
        if x.ndim != 4 or x.shape[1] not in (1, 3) or self.watch.step:
            return
        low, high, mean = float(x.min()), float(x.max()), float(x.mean())
        if low >= 0 and high > 100:
            self.watch.found(
                "R524", "WARN", f"inputs are raw pixels from {low:g} to {high:g}; nets are made for about -2 to 2"
            )
        elif mean < -1.2 and high < 0.5 and low > -6:
            self.watch.found(
                "R524", "WARN", f"inputs have a mean of {mean:.2f} and no high values: they seem normalised twice"
            )

    def _compare(self, training: list[tuple[float, float]], now: tuple[float, float]) -> None:
        mean = sum(m for m, _ in training) / len(training)
        spread = sum(s for _, s in training) / len(training)
        if not (math.isfinite(now[1]) and spread > 0 and now[1] > 0):
            return
        ratio = now[1] / spread
        if ratio >= FACTOR or ratio <= 1 / FACTOR:
            text = (
                f"inputs of the evaluation spread by {now[1]:.3g} around {now[0]:.3g}, those "
                f"of the training by {spread:.3g} around {mean:.3g}"
            )
            self.watch.found("R524", "FAIL", text)


def _scale(x: Tensor) -> tuple[float, float]:
    values = x.detach().float()
    return float(values.mean()), float(values.std())
