"""A scheduler takes more steps than it was built for.

## What

`OneCycleLR` (or its like) steps beyond `total_steps`.

## Why

It was built for epochs and steps per batch, the number of epochs changed, or a resume begins it anew.

## Bad

```python
import torch
from torch import nn

optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), 0.1)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=2)
for _ in range(3):
    optimizer.step()
    scheduler.step()
```

## Good

```python
import torch
from torch import nn

optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), 0.1)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=4)
for _ in range(3):
    optimizer.step()
    scheduler.step()
```

## Fix

Build it with `epochs=` and `steps_per_epoch=len(loader)`, divided by the accumulation, and step it once a batch.

## How sure

98 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"Tried to step \d+ times\. The specified number of total steps is \d+"),
)
