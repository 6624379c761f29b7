"""The loader cannot make a batch of what a sample holds.

## What

A sample holds `None`, a picture, a path or another object.

## Why

The default collate knows tensors, arrays, numbers, texts, and dicts and lists of them.

## Bad

```python
from torch.utils.data import DataLoader

next(iter(DataLoader([(1, None), (2, None)], batch_size=2)))
```

## Good

```python
from torch.utils.data import DataLoader

next(iter(DataLoader([(1, 0), (2, 0)], batch_size=2)))
```

## Fix

Return tensors and numbers from `__getitem__` (`ToTensor()` for pictures, no `None`), or write a `collate_fn`.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"batch must contain tensors"),
)
