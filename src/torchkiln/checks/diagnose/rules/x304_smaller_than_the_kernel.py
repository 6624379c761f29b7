"""The picture or sequence became smaller than a kernel.

## What

A convolution or pooling gets an input that is smaller than its window.

## Why

Each pooling halves the size; small inputs are used up before the last layer.

## Bad

```python
import torch
from torch import nn

nn.MaxPool2d(4)(torch.ones(1, 3, 2, 2))
```

## Good

```python
import torch
from torch import nn

nn.AdaptiveMaxPool2d(1)(torch.ones(1, 3, 2, 2))
```

## Fix

Give larger inputs, leave out a pooling or stride, add padding, or end with `nn.AdaptiveAvgPool2d(1)`.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"Kernel size can't be greater than actual input size|Output size is too small|non-empty 3D or 4D|"
        r"Padding size should be less than the corresponding input dimension|"
        r"[Ii]nput image smaller than kernel|should be smaller than or equal to the (?:padded )?input size"
    ),
)
