"""A reshape asks for another number of elements.

## What

`view` or `reshape` names a shape whose product is not the tensor's number of elements.

## Why

A size that was computed for another input (picture size, batch size, number of heads) is written out.

## Bad

```python
import torch

torch.ones(2, 3).view(4, 2)
```

## Good

```python
import torch

torch.ones(2, 3).view(3, 2)
```

## Fix

Keep the batch and let one dimension be found (`x.flatten(1)`, `x.view(x.size(0), -1)`), and compute sizes from
`x.shape`; a last batch is smaller.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"shape '\[(?P<shape>[^\]]*)\]' is invalid for input of size (?P<size>\d+)"),
    Seen(
        r"split_with_sizes expects split_sizes to sum|cannot reshape tensor of|unflatten: Provided sizes|"
        r"pixel_shuffle expects"
    ),
    fix="`{code}` asks for [{shape}] of {size} elements: take sizes from the tensor's own shape, with -1 for "
    "one of them, and keep the batch.",
)
