"""An index is beyond the end of a tensor.

## What

A tensor is indexed, gathered or selected at a position that it does not have.

## Why

An off-by-one, indices of another (longer) tensor, or labels that begin at 1.

## Bad

```python
import torch

torch.ones(5)[7]
```

## Good

```python
import torch

torch.ones(5)[4]
```

## Fix

Compare the largest index with the size of that dimension; indices begin at 0.

## How sure

92 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.places import numpys
from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"index (?P<index>-?\d+) is out of bounds for dimension (?P<dim>\d+) with size (?P<size>\d+)",
        frame=r"",
        when=lambda f, c: not numpys(f),
    ),
    Seen(
        r"index \d+ is out of range for|start \(\d+\) \+ length \(\d+\) exceeds dimension size|"
        r"selected index k out of range|Index tensor must have the same number of dimensions|"
        r"index out of bounds at|invalid index of a 0-dim tensor|"
        r"slice\(\) cannot be applied to a 0-dim tensor|index_select\(\)",
        when=lambda f, c: not numpys(f),
    ),
    fix="`{code}` asks for index {index} of dimension {dim}, which has {size}: the last one is {size} - 1; "
    "see where the index comes from.",
)
