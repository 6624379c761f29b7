"""The gradient scaler is used out of order.

## What

`unscale_`, `step` or `update` of a `GradScaler` come twice, are missing, or meet gradients that it did not scale.

## Why

Once a step: scale the loss, backward, `unscale_`, clip, `step`, `update`.

## Bad

```python
import torch
from torch import nn

model = nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
scaler = torch.amp.GradScaler("cpu")
scaler.scale(model(torch.ones(1, 2)).sum()).backward()
scaler.step(optimizer)
scaler.step(optimizer)
```

## Good

```python
import torch
from torch import nn

model = nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
scaler = torch.amp.GradScaler("cpu")
scaler.scale(model(torch.ones(1, 2)).sum()).backward()
scaler.step(optimizer)
scaler.update()
```

## Fix

Keep the order once a step: `scaler.scale(loss).backward()`, `scaler.unscale_(optimizer)` if you clip,
`scaler.step(optimizer)`, `scaler.update()`; keep the weights in float32.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"unscale_\(\) has already been called|No inf checks were recorded|"
        r"step\(\) has already been called since the last update|unscale_\(\) is being called after step\(\)|"
        r"Attempting to unscale FP16 gradients|[Aa]ttempted? (?:to )?(?:unscale_|scale).* but .*(?:None|"
        r"uninitialized)|Attempted \w+ but _scale is None"
    ),
    lint=("E106", "E108"),
)
