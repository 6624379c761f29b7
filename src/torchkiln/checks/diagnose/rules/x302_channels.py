"""A convolution gets another number of channels than it was built for.

## What

The channel dimension of the input is not the layer's `in_channels`.

## Why

Grey pictures for a net of colour pictures, channels last (height, width, channels), or a layer before it that gives
another number.

## Bad

```python
import torch
from torch import nn

conv = nn.Conv2d(3, 8, 3)
conv(torch.ones(4, 1, 28, 28))
```

## Good

```python
import torch
from torch import nn

conv = nn.Conv2d(1, 8, 3)
conv(torch.ones(4, 1, 28, 28))
```

## Fix

Build the layer with the channels that come, bring pictures to the ones it wants (`.convert("RGB")`, `Grayscale(3)`,
`x.expand(-1, 3, -1, -1)`), or move channels first: `x.permute(0, 3, 1, 2)`.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"Given (?:groups|"
        r"transposed)=\d+, weight of size \[.*?\], expected input\[(?P<shape>.*?)\] to have (?P<want>\d+) "
        r"channels, but got (?P<have>\d+) channels"
    ),
    Seen(
        r"expected input.* to have \d+ channels|"
        r"output with shape \[1, .*doesn't match the broadcast shape \[3, "
    ),
    fix="`{layer}` takes {want} channels and gets {have} (input [{shape}]): build it with {have}, or bring "
    "the input to {want} channels, in the dimension behind the batch.",
)
