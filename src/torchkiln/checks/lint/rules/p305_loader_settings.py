"""A loader has no workers, pinning or persistent workers.

## What

A `DataLoader` of a program that uses CUDA has no `num_workers`, no `pin_memory=True`, or workers that are not
kept.

## Why

Without workers the device waits while samples are read. Unpinned memory is copied a second time. Workers that are
not kept are started anew each epoch.

## Bad

```python
import torch
from torch.utils.data import DataLoader

device = torch.device("cuda")
train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
```

## Good

```python
import torch
from torch.utils.data import DataLoader

device = torch.device("cuda")
train_loader = DataLoader(
    train_set, batch_size=64, shuffle=True, num_workers=4, pin_memory=True, persistent_workers=True
)
```

## Fix

Set `num_workers`, `pin_memory=True` and `persistent_workers=True`, and time it.

## How sure

80 %. Data that is in memory may be faster without workers.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint import names
from torchkiln.checks.lint.source import constant, keyword, spread
from torchkiln.checks.lint.view import Found, View


def check(view: View) -> Iterator[Found]:
    """One finding for each loader, naming all that is missing."""
    for call, function in view.calls(names.LOADER):
        if spread(call) or not view.project.any_text(function.source, ("cuda",)):
            continue
        missing = _missing(call)
        if missing:
            yield Found(call, function.source, f"this loader is without {', '.join(missing)}")


def _missing(call: ast.Call) -> list[str]:
    workers = keyword(call, "num_workers")
    missing = []
    if workers is None or constant(workers) == 0:
        missing.append("num_workers")
    pinned = keyword(call, "pin_memory")
    if pinned is None or constant(pinned) is False:
        missing.append("pin_memory")
    kept = keyword(call, "persistent_workers")
    if (kept is None or constant(kept) is False) and workers is not None and constant(workers) != 0:
        missing.append("persistent_workers")
    return missing
