"""The loss is maximised.

## What

The backward pass starts from the negative of a loss, or the optimizer is told to maximise one.

## Why

The model gets worse with each step.

## Bad

```python
for x, y in loader:
    optimizer.zero_grad()
    (-criterion(model(x), y)).backward()
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

Take the sign away; `maximize=True` is for rewards.

## How sure

85 %; some methods are meant to, so it is a WARN, and programs with several optimizers are not spoken of.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from torchkiln.checks.guard import graph
from torchkiln.checks.guard.watch import Watch

LOSSES = ("NllLoss", "MseLoss", "BinaryCrossEntropy", "SmoothL1", "Huber", "L1Loss", "KlDiv")


class Check:
    """Looks at the last operations of the first losses."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_backward(self, root: Tensor, given: dict[str, Any]) -> None:
        if self.watch.step > 1 or len(self.watch.living()) != 1:
            return
        if any(not isinstance(leaf, nn.Parameter) for leaf in self.watch.leaves.values()):
            return
        names = [node.name() for node in graph.chain(root, 2)]
        optimizer = self.watch.living()[0].ref()
        turned = bool(optimizer is not None and optimizer.param_groups[0].get("maximize"))
        if len(names) == 2 and names[0].startswith("Neg") and names[1].startswith(LOSSES):
            self.watch.found("R536", "WARN", f"backward() is called on the negative of a loss ({names[1]})")
        elif turned and names and names[0].startswith(LOSSES):
            self.watch.found("R536", "WARN", f"the optimizer has maximize=True, and is given a loss ({names[0]})")
