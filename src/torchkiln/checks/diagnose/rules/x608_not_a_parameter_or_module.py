"""Something is assigned where a parameter or a layer must stand.

## What

A tensor is assigned to a parameter's name, or a function or number to a layer's place.

## Why

Registered names keep their kind.

## Bad

```python
import torch
from torch import nn

fc = nn.Linear(2, 2)
fc.weight = torch.ones(2, 2)
```

## Good

```python
import torch
from torch import nn

fc = nn.Linear(2, 2)
fc.weight = nn.Parameter(torch.ones(2, 2))
```

## Fix

Wrap tensors in `nn.Parameter(...)` (or copy into it under `no_grad`), use layers for functions (`nn.ReLU()` for
`torch.relu`), and `nn.Identity()` to take a layer out.

## How sure

96 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"cannot assign '.+' (?:object )?(?:as|to) (?:parameter|child module|buffer)|is not a Module subclass|"
        r"cannot assign non-leaf|attempting to assign a gradient|attribute '\w+' already exists|"
        r"Cannot assign non-leaf Tensor"
    ),
)
