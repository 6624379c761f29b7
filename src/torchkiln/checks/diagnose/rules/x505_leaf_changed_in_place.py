"""A parameter is changed in place while gradients are recorded.

## What

A parameter (a leaf) is written to outside `torch.no_grad()`.

## Why

Its change would be part of the graph of itself.

## Bad

```python
import torch
from torch import nn

fc = nn.Linear(2, 2)
fc.weight[0] = 1
```

## Good

```python
import torch
from torch import nn

fc = nn.Linear(2, 2)
with torch.no_grad():
    fc.weight[0] = 1
```

## Fix

Write under `with torch.no_grad():`, or use `nn.init`.

## How sure

98 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"leaf [Vv]ariable that requires grad (?:is being|has been) used in an in-?place operation|"
        r"leaf variable has been moved into the graph interior"
    ),
)
