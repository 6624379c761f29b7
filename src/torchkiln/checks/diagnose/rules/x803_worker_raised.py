"""The data set's own code raised in a worker.

## What

`Caught ... in DataLoader worker process`: the exception is the data set's, of a kind that this catalogue does not
name.

## Why

What goes wrong for a sample is raised again in the main process, with the worker's traceback in its message.

## Bad

```python
from torch.utils.data import DataLoader, Dataset


class Rows(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, i):
        raise ValueError("row without a label")


for _ in DataLoader(Rows(), num_workers=1, multiprocessing_context="fork"):
    pass
```

## Good

```python
from torch.utils.data import DataLoader, Dataset


class Rows(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, i):
        return i


for _ in DataLoader(Rows()):
    pass
```

## Fix

Read the traceback below "Original Traceback": its last line in your own file is the place. `num_workers=0` raises
it there directly; `data[i]` tries one sample.

## How sure

90 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"Caught \w+ in DataLoader worker process", weight=2),
)
