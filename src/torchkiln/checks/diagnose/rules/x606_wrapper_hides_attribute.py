"""A wrapper hides the model's own methods.

## What

A method or attribute of the model is asked of its wrapper (DDP, DataParallel, FSDP).

## Why

The wrapper forwards calls and nothing else; the model is its `.module`.

## Bad

```python
from torch import nn


class Net(nn.Module):
    def encode(self, x):
        return x


nn.DataParallel(Net()).encode(1)
```

## Good

```python
from torch import nn


class Net(nn.Module):
    def encode(self, x):
        return x


nn.DataParallel(Net()).module.encode(1)
```

## Fix

Ask the model itself: `model.module.name` (in training call the wrapper, so that gradients are shared).

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"'(?P<cls>DistributedDataParallel|DataParallel|FullyShardedDataParallel|"
        r"DDP)' object has no attribute '(?P<name>\w+)'",
        weight=12,
    ),
    fix="ask the model inside: `.module.{name}` in `{code}`.",
)
