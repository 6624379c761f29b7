"""Batch norm in training gets one value a channel.

## What

A batch of one sample (often the last of an epoch) reaches a batch norm in training mode.

## Why

The statistics of one value have no variance.

## Bad

```python
import torch
from torch import nn

nn.BatchNorm1d(3)(torch.ones(1, 3))
```

## Good

```python
import torch
from torch import nn

nn.BatchNorm1d(3).eval()(torch.ones(1, 3))
```

## Fix

Set `drop_last=True` in the training loader (or another batch size), and call `model.eval()` before predicting on
one sample.

## How sure

98 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"Expected more than 1 (?:value per channel|spatial element) when training"),
    lint=("E112",),
)
