"""A data set draws from numpy in workers that are not seeded.

## What

`__getitem__` draws from numpy's random numbers, its own generator included, a loader has workers, and no
`worker_init_fn` seeds them.

## Why

Each worker starts with a copy of the same generator: samples get the same "random" changes in all workers, and the
same again in each epoch. torch seeds only numpy's global state, and only in newer versions.

## Bad

```python
import numpy as np
from torch.utils.data import DataLoader, Dataset


class Noisy(Dataset):
    def __getitem__(self, i):
        return self.x[i] + np.random.randn(8)


loader = DataLoader(Noisy(), shuffle=True, num_workers=4)
```

## Good

```python
import torch
from torch.utils.data import DataLoader, Dataset


class Noisy(Dataset):
    def __getitem__(self, i):
        return self.x[i] + torch.randn(8)


loader = DataLoader(Noisy(), shuffle=True, num_workers=4)
```

## Fix

Draw from torch, or give the loader a `worker_init_fn` that seeds numpy from `torch.initial_seed()`.

## How sure

85 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint import names
from torchkiln.checks.lint.source import Class, Function, constant, dotted, keyword
from torchkiln.checks.lint.view import Found, View

GENERATORS = ("numpy.random.default_rng", "numpy.random.RandomState", "numpy.random.Generator")


def check(view: View) -> Iterator[Found]:
    """One finding for each data set."""
    for one in view.classes:
        getitem = one.methods.get("__getitem__")
        if getitem is None or not view.project.is_dataset(one) or not _workers(view, one):
            continue
        drawn = _draw(view, one, getitem)
        if drawn is not None:
            yield Found(drawn[0], drawn[1].source, "numpy draws here in workers that nothing seeds")


def _workers(view: View, one: Class) -> bool:
    """Whether a loader near by has workers, and none seeds them."""
    found = False
    for source in view.project.related(one.source):
        if "worker_init_fn" in source.text or "get_worker_info" in source.text:
            return False
        for call, _ in source.calls:
            if source.called(call) == names.LOADER:
                workers = keyword(call, "num_workers")
                found |= workers is not None and constant(workers) != 0
    return found


def _draw(view: View, one: Class, function: Function, depth: int = 0) -> tuple[ast.Call, Function] | None:
    for call in function.calls:
        full = function.source.called(call)
        if full.startswith("numpy.random.") and full not in GENERATORS and not full.endswith(".seed"):
            return call, function
        owner = dotted(call.func).rpartition(".")[0]
        if owner.startswith("self.") and any(
            isinstance(a.value, ast.Call) and f.source.called(a.value) in GENERATORS
            for f, a in one.attrs.get(owner[5:], ())
        ):
            return call, function
        target = view.project.target(call, function)
        if isinstance(target, Function) and depth < 2:
            found = _draw(view, one, target, depth + 1)
            if found is not None:
                return found
    return None
