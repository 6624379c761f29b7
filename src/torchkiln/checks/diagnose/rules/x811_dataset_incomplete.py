"""A data set lacks `__len__` or `__getitem__`.

## What

A map-style data set does not define what a loader asks for.

## Why

The methods are missing, spelt or indented wrongly, or an iterable data set is used where a length is wanted.

## Bad

```python
from torch.utils.data import DataLoader, Dataset


class Rows(Dataset):
    def __len__(self):
        return 1


next(iter(DataLoader(Rows())))
```

## Good

```python
from torch.utils.data import DataLoader, Dataset


class Rows(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, i):
        return i


next(iter(DataLoader(Rows())))
```

## Fix

Define `__len__` and `__getitem__(self, index)` in the class; derive from `IterableDataset` where there is only
`__iter__`.

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"Subclasses of Dataset should implement __getitem__"),
    Seen(r"^$", kind="NotImplementedError", frame=r"torch/utils/data/dataset\.py:__getitem__"),
    Seen(
        r"object of type '\w+' has no len\(\)|object is not subscriptable",
        frame=r"torch/utils/data/(?:sampler|dataloader|dataset|_utils/fetch)\.py",
    ),
)
