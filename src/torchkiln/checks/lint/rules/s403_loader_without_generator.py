"""A shuffling loader has no generator of its own.

## What

A `DataLoader` shuffles or has workers, and is given neither a `generator` nor a `worker_init_fn`.

## Why

Its order then depends on every other draw of random numbers before it: one more layer, and the batches are others.

## Bad

```python
from torch.utils.data import DataLoader

loader = DataLoader(train_set, batch_size=batch_size, shuffle=True)
```

## Good

```python
import torch
from torch.utils.data import DataLoader

generator = torch.Generator().manual_seed(0)
loader = DataLoader(train_set, batch_size=batch_size, shuffle=True, generator=generator)
```

## Fix

Give it `generator=torch.Generator().manual_seed(seed)`, and a `worker_init_fn` where workers draw from numpy.

## How sure

90 %.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchkiln.checks.lint import names
from torchkiln.checks.lint.source import argument, constant, keyword, spread
from torchkiln.checks.lint.view import Found, View


def check(view: View) -> Iterator[Found]:
    """One finding for each loader."""
    for call, function in view.calls(names.LOADER):
        shuffles = constant(argument(call, 2, "shuffle")) is True
        workers = keyword(call, "num_workers")
        works = workers is not None and constant(workers) != 0 and shuffles
        if (
            (shuffles or works)
            and not spread(call)
            and keyword(call, "generator") is None
            and keyword(call, "worker_init_fn") is None
        ):
            yield Found(call, function.source, "the order of this loader hangs on all other random numbers")
