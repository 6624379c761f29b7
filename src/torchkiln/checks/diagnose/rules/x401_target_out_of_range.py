"""A class index is not below the number of classes.

## What

The loss gets a target that is negative or not smaller than the number of outputs.

## Why

Classes count from 0: labels 1 to 10 need 11 outputs, or 1 taken off; -1 for "none" needs `ignore_index`.

## Bad

```python
import torch
from torch import nn

out, y = torch.ones(2, 3), torch.tensor([1, 3])
nn.CrossEntropyLoss()(out, y)
```

## Good

```python
import torch
from torch import nn

out, y = torch.ones(2, 3), torch.tensor([0, 2])
nn.CrossEntropyLoss()(out, y)
```

## Fix

Look at the smallest and the largest target: they must be 0 and at most outputs - 1. Map labels to 0..K-1, or give
the last layer as many outputs as there are classes; `ignore_index=` for those that do not count.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"Target (?P<target>-?\d+) is out of bounds"),
    Seen(
        r"Class values must be (?:smaller than num_classes|non-negative)|"
        r"cur_target >= 0 && cur_target < n_classes|[Ll]abel value \S+ is outside the valid range"
    ),
    fix="the target {target} is no class of the output in `{code}`: map labels to 0..K-1 or give the last "
    "layer more outputs; `ignore_index={target}` if it stands for none.",
)
