"""A dimension is named that the tensor does not have.

## What

`dim=` is beyond the number of dimensions.

## Why

The tensor has fewer than was thought: the batch is missing, or a reduction or `squeeze` took one away.

## Bad

```python
import torch

torch.ones(3).sum(1)
```

## Good

```python
import torch

torch.ones(3).sum(0)
```

## Fix

Print the shape; count from the end (`dim=-1`), name what `squeeze` may take (`squeeze(1)`), or keep dimensions
(`keepdim=True`).

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"Dimension out of range|Dimension specified as -?\d+ but tensor has no dimensions"),
    fix="the tensor in `{code}` has fewer dimensions than that: print its shape; use `dim=-1`, or "
    "`keepdim=True` and `squeeze(1)` before it.",
)
