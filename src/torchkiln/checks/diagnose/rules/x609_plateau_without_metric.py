"""`ReduceLROnPlateau` steps without a metric.

## What

`scheduler.step()` without the value that the scheduler watches.

## Why

It lowers the rate when a metric stops improving, so it must be told the metric.

## Bad

```python
import torch
from torch import nn

optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), 0.1)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
scheduler.step()
```

## Good

```python
import torch
from torch import nn

optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), 0.1)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
scheduler.step(0.7)
```

## Fix

Pass the validation loss, once an epoch: `scheduler.step(val_loss)`; in Lightning return `{"scheduler": ...,
"monitor": "val_loss"}`.

## How sure

98 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"step\(\) missing 1 required positional argument: 'metrics?'|ReduceLROnPlateau conditioned on metric|"
        r"must include a monitor when a `ReduceLROnPlateau`"
    ),
    fix="`{called}` wants the metric: `{called}(val_loss)`, once an epoch.",
    lint=("E115",),
)
