"""`view` on a tensor whose memory is not in order.

## What

`.view()` after `transpose`, `permute` or a slice.

## Why

A view cannot reorder memory; after a transpose the elements do not lie in the new order.

## Bad

```python
import torch

torch.ones(2, 3).t().view(6)
```

## Good

```python
import torch

torch.ones(2, 3).t().reshape(6)
```

## Fix

Use `.reshape(...)` in place of `.view(...)`, or `.contiguous()` before it.

## How sure

98 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"view size is not compatible with input tensor's size and stride|"
        r"input is not contiguous|but got non-contiguous tensor|"
        r"view\(\): argument .* contiguous"
    ),
    fix="write `.reshape(...)` in place of `.view(...)` in `{code}`.",
)
