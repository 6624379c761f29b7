"""A tensor on the `meta` device has no data.

## What

A model was made on the `meta` device, or loaded with `low_cpu_mem_usage`, and is used or moved before it has
weights.

## Why

Meta tensors have a shape and nothing else.

## Bad

```python
import torch
from torch import nn

with torch.device("meta"):
    net = nn.Linear(2, 2)
net.to("cpu")
```

## Good

```python
import torch
from torch import nn

with torch.device("meta"):
    net = nn.Linear(2, 2)
net.to_empty(device="cpu")
```

## Fix

Use `model.to_empty(device=...)` and load the weights then, or `load_state_dict(state, assign=True)`; of a
pretrained model check that the checkpoint holds every parameter.

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"Cannot copy out of meta tensor|cannot be called on meta tensors|[Tt]ensor on device meta|"
        r"is not on the expected device meta|Attempted to use an uninitialized parameter",
        weight=12,
    ),
)
