"""The first steps are far too large.

## What

The first step changes the weights by more than their own size, and the loss explodes after it.

## Why

What the initialisation or the pretraining gave is lost at once.

## Bad

```python
net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = optim.Adam(net.parameters(), lr=10.0)
for x, y in loader:
    optimizer.zero_grad()
    criterion(net(x), y).backward()
    optimizer.step()
```

## Good

```python
net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = optim.Adam(net.parameters(), lr=1e-3)
for x, y in loader:
    optimizer.zero_grad()
    criterion(net(x), y).backward()
    optimizer.step()
```

## Fix

Try a rate ten times lower, or a warm-up; typical are 1e-3 for Adam and 1e-1 to 1e-2 for SGD.

## How sure

95 % where both are seen; a WARN where the step alone is so large.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchkiln.checks.guard.known import Stepping
from torchkiln.checks.guard.watch import Watch

EXPLODED, MOST_VALUES = 10, 4_000_000


class Check:
    """Measures the first step of each optimizer, and the loss before and after it."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.before: list[tuple[Tensor, Tensor]] = []
        self.losses: list[float] = []
        self.large = ""

    def on_backward(self, root: Tensor, given: dict[str, Any]) -> None:
        if self.watch.step > 4 or root.numel() != 1:
            return
        self.losses.append(float(root.detach()))
        first, now = self.losses[0], self.losses[-1]
        if self.large and first > 0 and now > max(EXPLODED * first, 10):
            self.watch.found("R527", "FAIL", f"{self.large}, and the loss went from {first:.3g} to {now:.3g}")

    def on_step_begin(self, stepping: Stepping) -> None:
        self.before = []
        if stepping.steps == 0:
            some = [p for p in stepping.parameters if p.ndim > 1 and p.grad is not None and p.numel() <= MOST_VALUES]
            self.before = [(p, p.detach().clone()) for p in some[:8]]

    def on_step(self, stepping: Stepping) -> None:
        before, self.before = self.before, []
        with torch.no_grad():
            sizes = [(float((p - old).norm()), float(old.norm())) for p, old in before]
        ratios = sorted(change / size for change, size in sizes if size > 0)
        if ratios and ratios[len(ratios) // 2] > 1:
            optimizer = stepping.ref()
            rate = optimizer.param_groups[0].get("lr") if optimizer is not None else None
            ratio = ratios[len(ratios) // 2]
            self.large = (
                f"the first step of {stepping.name}, with a rate of {rate}, changes "
                f"weights by {ratio:.2g} times their size"
            )
            if ratio > 3:
                self.watch.found("R527", "WARN", self.large)
