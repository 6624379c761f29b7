"""An input has too many or too few dimensions.

## What

A layer wants a batch of pictures or sequences and gets one with a dimension less or more.

## Why

The batch dimension is missing, or flat data goes into a convolution.

## Bad

```python
import torch
from torch import nn

nn.Conv2d(3, 8, 3)(torch.ones(4, 28))
```

## Good

```python
import torch
from torch import nn

nn.Conv2d(3, 8, 3)(torch.ones(1, 3, 28, 28))
```

## Fix

Give it the dimensions it wants: `x.unsqueeze(0)` for a missing batch, `x.unsqueeze(1)` for missing channels, a
reshape for flat data.

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"Expected \d+D(?: \(unbatched\))? or \d+D(?: \(batched\))? (?:tensor|input)|"
        r"[Ee]xpected \d+D(?: or \d+D)*(?: or \d+D)? (?:input|tensor)|Expected \d+-dimensional input for|"
        r"expected stride to be a single integer value|input must have \d+ dimensions|"
        r"Only 3D, 4D and 5D input|Padding size \d+ is not supported|query should be unbatched|"
        r"For (?:un)?batched \d-D input|LSTM: Expected input to be 2D or 3D|GRU: Expected input|"
        r"RNN: Expected input|number of dimensions in the tensor input does not match|"
        r"Expected more than \d+ dims|"
        r"too many indices for tensor of dimension"
    ),
)
