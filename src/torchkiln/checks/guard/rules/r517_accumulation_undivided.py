"""Gradients are accumulated without dividing the loss.

## What

Several backward passes from the same line are summed up before each step, and their losses are not divided by how
many there are.

## Why

The gradient is that many times as large as meant, which works like a learning rate that many times as high.

## Bad

```python
for number, (x, y) in enumerate(loader):
    loss = criterion(model(x), y)
    loss.backward()
    if (number + 1) % 4 == 0:
        optimizer.step()
        optimizer.zero_grad()
```

## Good

```python
for number, (x, y) in enumerate(loader):
    loss = criterion(model(x), y) / 4
    loss.backward()
    if (number + 1) % 4 == 0:
        optimizer.step()
        optimizer.zero_grad()
```

## Fix

Divide the loss by the number of micro-batches before `backward()`, and step on the last, shorter rest too.

## How sure

70 %: a sum may be meant, so it is a WARN.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchkiln.checks.guard import place
from torchkiln.checks.guard.known import Stepping
from torchkiln.checks.guard.watch import Watch

MEANS = ("NllLoss", "Mean", "MseLoss", "BinaryCrossEntropy", "SmoothL1", "Huber", "KlDiv")
"""Operations that a loss ends with when it is the mean of a batch."""


class Check:
    """Counts backward passes between two steps by their line."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.lines: list[tuple[Any, bool]] = []
        self.shown: Any = None

    def on_backward(self, root: Tensor, given: dict[str, Any]) -> None:
        if self.watch.step > 3 or given.get("retain_graph") or root.ndim:
            return
        at = place.here()
        self.shown = at
        mean = any(n.name().startswith(MEANS) for n in [root.grad_fn] if n is not None)
        self.lines.append((at[:2] if at else None, mean))

    def on_clear(self, stepping: Stepping) -> None:
        if not stepping.reached:
            return
        self.lines = []

    def on_step(self, stepping: Stepping) -> None:
        lines, self.lines = self.lines, []
        calls = len(self.watch.calls)
        alike = len(lines) > 1 and len(set(lines)) == 1 and lines[0][1] and calls >= len(lines)
        if alike and len(self.watch.living()) == 1 and not stepping.stale:
            text = f"{len(lines)} backward passes of a mean loss are summed up before a step, and none is divided"
            self.watch.found("R517", "WARN", text, at=self.shown)
