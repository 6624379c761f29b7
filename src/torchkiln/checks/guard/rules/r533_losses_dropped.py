"""Losses are computed and not used.

## What

Several batches go through the model between two steps, and only the loss of the last has a backward pass.

## Why

Most of the data is not trained on: `backward()` and the step stand outside the loop over batches.

## Bad

```python
for epoch in range(4):
    for x, y in loader:
        loss = criterion(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
```

## Good

```python
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Fix

Indent `zero_grad()`, `backward()` and `step()` into the loop over batches.

## How sure

95 %, from the second time on.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchkiln.checks.guard import graph
from torchkiln.checks.guard.known import Stepping
from torchkiln.checks.guard.watch import Loss, Watch

NODES = (
    "NllLoss",
    "MseLoss",
    "BinaryCrossEntropy",
    "SmoothL1",
    "Huber",
    "L1Loss",
    "KlDiv",
    "CrossEntropy",
    "AbsBackward",
)
MOST = 5000


class Check:
    """Counts losses and those that a backward pass goes through."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.losses = self.used = self.times = 0

    def on_loss(self, loss: Loss) -> None:
        call = self.watch.last
        if loss.grad and loss.output.requires_grad and call is not None and call.training and self.watch.closely:
            self.losses += 1

    def on_backward(self, root: Tensor, given: dict[str, Any]) -> None:
        if self.losses > self.used + 1 and self.watch.closely:
            self.used += len(graph.walk(root, NODES, MOST).found)
        else:
            self.used += 1

    def on_step(self, stepping: Stepping) -> None:
        losses, used, forwards = self.losses, self.used, len(self.watch.calls)
        self.losses = self.used = 0
        if losses < 3 or used != 1 or forwards < losses or len(self.watch.living()) != 1:
            self.times = 0
            return
        self.times += 1
        if self.times == 2:
            text = f"of {losses} losses since the last step, of as many batches, only the last had a backward pass"
            self.watch.found("R533", "FAIL", text)
