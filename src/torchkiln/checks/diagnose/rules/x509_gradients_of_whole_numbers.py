"""Gradients are asked for a tensor of whole numbers.

## What

`requires_grad` on a tensor of integers.

## Why

Only floating point and complex numbers have gradients.

## Bad

```python
import torch

torch.tensor([1, 2], requires_grad=True)
```

## Good

```python
import torch

torch.tensor([1.0, 2.0], requires_grad=True)
```

## Fix

Make it floats: `torch.tensor([1.0, 2.0])` or `.float()`; a quantized or integer model is frozen before it is made a
parameter (`requires_grad=False`).

## How sure

98 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"Only Tensors of floating point (?:and complex )?dtype can require gradients|"
        r"only Tensors of floating point .* can require grad"
    ),
)
