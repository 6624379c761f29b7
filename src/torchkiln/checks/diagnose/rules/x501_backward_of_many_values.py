"""`backward()` is called on a tensor of many values.

## What

The loss is not one number.

## Why

Gradients are defined for one number; a loss with `reduction="none"`, or an output in place of the loss, has many.

## Bad

```python
import torch

loss = torch.ones(3, requires_grad=True) * 2
loss.backward()
```

## Good

```python
import torch

loss = torch.ones(3, requires_grad=True) * 2
loss.mean().backward()
```

## Fix

Call `.mean()` (or `.sum()`) first; with `DataParallel`, which gives a loss for each device, too.

## How sure

98 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"grad can be implicitly created only for (?:scalar|real scalar) outputs|"
        r"grad_outputs? .*mismatch in shape"
    ),
    fix="reduce it first: `{owner}.mean().backward()`.",
)
