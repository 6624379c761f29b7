"""Tensors that are joined differ in another dimension.

## What

`torch.cat` or `torch.stack` gets tensors of unequal sizes.

## Why

`cat` joins along one dimension and all others must be equal; `stack` wants equal shapes. Sizes that are odd at a
pooling come back one smaller from the upsampling.

## Bad

```python
import torch

torch.cat([torch.ones(2, 3), torch.ones(2, 4)])
```

## Good

```python
import torch

torch.cat([torch.ones(2, 3), torch.ones(2, 4)], dim=1)
```

## Fix

Join along the dimension that differs (`dim=1`), or bring the others to one size (`F.pad`, `F.interpolate(x,
size=skip.shape[2:])`, `pad_sequence`).

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"Tensors must have same number of dimensions|"
        r"Sizes of tensors must match except in dimension|stack expects each tensor to be equal size|"
        r"torch\.cat\(\): expected a non-empty list|expected a non-empty list of Tensors|"
        r"stack expects a non-empty TensorList|invalid argument 0: Sizes of tensors must match"
    ),
)
