"""An evaluation records gradients.

## What

The model is evaluated in evaluation mode, and what is needed for a backward pass is recorded though none follows.

## Why

It takes about twice the memory and more time.

## Bad

```python
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
model.eval()
for x, y in val_loader:
    hits = (model(x).argmax(1) == y).sum()
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

Put the evaluation under `torch.inference_mode()` or `torch.no_grad()`.

## How sure

90 %; it changes no result, so it is a WARN.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchkiln.checks.guard.known import Call
from torchkiln.checks.guard.watch import Watch


class Check:
    """Counts forwards in evaluation mode that no backward follows."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.forwards = 0

    def on_forward(self, call: Call) -> None:
        output = call.output() if call.output else None
        if call.training or not call.grad or not call.model.trained or output is None or not output.requires_grad:
            return
        self.forwards += 1
        if self.forwards == 2:
            text = f"{call.model.name} is evaluated with gradients recorded, and no backward pass follows"
            self.watch.found("R523", "WARN", text)

    def on_backward(self, root: Tensor, given: dict[str, Any]) -> None:
        self.forwards = 0
