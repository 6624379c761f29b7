"""Indices are not whole numbers.

## What

An embedding, `gather` or an index gets floats.

## Why

Indices must be `long` (or `int`); a table or a collate made them floats.

## Bad

```python
import torch
from torch import nn

nn.Embedding(5, 2)(torch.tensor([1.0]))
```

## Good

```python
import torch
from torch import nn

nn.Embedding(5, 2)(torch.tensor([1.0]).long())
```

## Fix

Convert them: `x.long()`, best where they are read.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"but got (?:scalar )?type \w+ for argument #\d+ 'ind(?:ex|ices)'", weight=15),
    Seen(
        r"Expected tensor for argument #\d+ 'indices' to have one of the following scalar types|"
        r"tensors used as indices must be long|[Ee]xpected dtype int(?:32|64)(?:/int64)? for index|"
        r"index.* [Ee]xpected (?:dtype|scalar type) (?:int64|Long)|one_hot is only applicable to index tensor",
        weight=14,
    ),
    fix="convert the indices: `{given}.long()` in `{code}`, best where they are read.",
)
