"""A layer gets another number of features than it was built for.

## What

The last dimension of what a linear layer or a matrix product gets is not the number that its weights have.

## Why

The number of features before a layer changed: another picture size, a flatten at the wrong dimension, a wrong
`in_features`.

## Bad

```python
import torch
from torch import nn

fc1 = nn.Linear(8, 2)
x = torch.ones(4, 9)
fc1(x)
```

## Good

```python
import torch
from torch import nn

fc1 = nn.Linear(9, 2)
x = torch.ones(4, 9)
fc1(x)
```

## Fix

Print the shape before the layer and set its `in_features` to the last dimension, or mend the flatten before it
(`x.flatten(1)` keeps the batch); `nn.LazyLinear` finds the number by itself.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"must have same reduction dim, but got \[\d+, (?P<have>\d+)\] X \[(?P<want>\d+), \d+\]"),
    Seen(
        r"mat1 and mat2 shapes cannot be multiplied \((?P<rows>\d+)x(?P<have>\d+) and "
        r"(?P<want>\d+)x(?P<out>\d+)\)"
    ),
    Seen(
        r"mat1 and mat2 shapes cannot be multiplied|mat1 dim 1 must match mat2 dim 0|size mismatch, m1: \[|"
        r"size mismatch, got (?:input|\d)|Expected size for first two dimensions of batch2 tensor|"
        r"[Ii]ncorrect batch2|self must be a matrix|inconsistent tensor size, expected tensor|"
        r"einsum\(\): (?:subscript|the number|operand)|mat1 shape"
    ),
    fix="`{layer}` takes {want} features and gets {have}: build it with {have} (`nn.Linear({have}, ...)`), or"
    " mend the flatten or reshape before it.",
)
