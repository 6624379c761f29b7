"""A loss on probabilities gets values outside 0 to 1.

## What

`BCELoss` gets scores that are no probabilities, NaN, or targets outside 0 to 1.

## Why

The sigmoid is missing, the model diverged to NaN, or labels are -1 or 2.

## Bad

```python
import torch
from torch import nn

nn.BCELoss()(torch.tensor([2.5]), torch.tensor([1.0]))
```

## Good

```python
import torch
from torch import nn

nn.BCEWithLogitsLoss()(torch.tensor([2.5]), torch.tensor([1.0]))
```

## Fix

Use `nn.BCEWithLogitsLoss()` on the scores and no sigmoid; look for NaN in the output and for labels other than 0
and 1.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"all elements of (?:input|target) should be between 0 and 1"),
    lint=("E122",),
)
