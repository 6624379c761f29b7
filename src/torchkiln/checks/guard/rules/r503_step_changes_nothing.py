"""Steps change nothing.

## What

The optimizer takes steps with gradients that are not zero, and the parameters keep every bit: the learning rate is
zero, or so small that it is lost in the parameters' precision.

## Why

The program trains nothing, and its loss moves only with the batches.

## Bad

```python
optimizer = optim.SGD(model.parameters(), lr=0.0)
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Good

```python
optimizer = optim.SGD(model.parameters(), lr=0.1)
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Fix

Give a learning rate that is not zero (for warm-up one that rises from the first step), and keep weights in float32
where updates are small.

## How sure

97 %. With a scheduler, whose rate may begin at zero, it is told only when the first steps are over.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchkiln.checks.guard.known import Stepping
from torchkiln.checks.guard.watch import Watch

SOME, MOST_VALUES = 4, 1_000_000
"""Parameters that are compared, and the largest of them."""
PATIENCE = 8
"""Steps that a scheduler may hold the rate at zero."""


class Check:
    """Compares some parameters before and after the first steps."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.before: list[tuple[Tensor, Tensor]] = []
        self.still: dict[int, int] = {}

    def on_step_begin(self, stepping: Stepping) -> None:
        self.before = []
        if stepping.steps < 2 or (stepping.schedulers and self.watch.closely):
            some = [p for p in stepping.parameters if p.grad is not None and p.numel() <= MOST_VALUES][:SOME]
            self.before = [(p, p.detach().clone()) for p in some]

    def on_step(self, stepping: Stepping) -> None:
        before, self.before = self.before, []
        if not before or not all(p.grad is not None and bool(p.grad.any()) for p, _ in before):
            return
        if not all(torch.equal(p, old) for p, old in before):
            self.still[id(stepping)] = 0
            return
        still = self.still[id(stepping)] = self.still.get(id(stepping), 0) + 1
        if still >= (PATIENCE if stepping.schedulers else 2):
            optimizer = stepping.ref()
            rates = sorted({float(g.get("lr", math.nan)) for g in optimizer.param_groups}) if optimizer else []
            at = ", ".join(f"{rate:g}" for rate in rates)
            text = f"{still} steps of {stepping.name} with a learning rate of {at} left the parameters as they were"
            self.watch.found("R503", "FAIL", f"{text}, though their gradients are not zero")
