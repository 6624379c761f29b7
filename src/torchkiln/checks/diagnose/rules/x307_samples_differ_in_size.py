"""The samples of a batch have different sizes.

## What

The loader's default collate stacks samples of unequal shapes or lengths.

## Why

A batch is one tensor: pictures of several sizes or texts of several lengths do not fit into it.

## Bad

```python
import torch
from torch.utils.data import DataLoader

next(iter(DataLoader([torch.ones(2), torch.ones(3)], batch_size=2)))
```

## Good

```python
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

data = [torch.ones(2), torch.ones(3)]
next(iter(DataLoader(data, batch_size=2, collate_fn=lambda b: pad_sequence(b, batch_first=True))))
```

## Fix

Bring samples to one size in the data set (`Resize((h, w))`, crop, cut), or pad them in a `collate_fn` of your own
(`pad_sequence(batch, batch_first=True)`).

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"stack expects each tensor to be equal size", frame=r"collate", weight=15),
    Seen(
        r"each element in list of batch should be of equal size|"
        r"Trying to resize storage that is not resizable|all the input array(?:s| dimensions)? .*must (?:have|"
        r"match)",
        frame=r"collate|DataLoader|dataloader|fetch",
        weight=15,
    ),
    Seen(
        r"each element in list of batch should be of equal size|Trying to resize storage that is not resizable",
        weight=12,
    ),
)
