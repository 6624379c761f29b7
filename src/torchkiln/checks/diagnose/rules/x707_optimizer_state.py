"""The optimizer's state is of another model.

## What

A loaded optimizer state has other groups or sizes than the optimizer.

## Why

Layers were added, frozen or put into other groups since it was saved.

## Bad

```python
import torch
from torch import nn

a = torch.optim.Adam(nn.Linear(2, 2).parameters())
b = torch.optim.Adam(nn.Linear(2, 2, bias=False).parameters())
b.load_state_dict(a.state_dict())
```

## Good

```python
import torch
from torch import nn

a = torch.optim.Adam(nn.Linear(2, 2).parameters())
b = torch.optim.Adam(nn.Linear(2, 2).parameters())
b.load_state_dict(a.state_dict())
```

## Fix

Build the same groups in the same order (freeze first), or load the weights alone and begin the optimizer anew.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"loaded state dict (?:contains a parameter group|has a different number of parameter groups)", weight=12),
)
