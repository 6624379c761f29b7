"""A data set or collate function moves tensors to the device.

## What

`__getitem__` of a data set, or a `collate_fn`, calls `.cuda()` or `.to(device)`.

## Why

Samples are copied one by one, and in worker processes CUDA cannot be used after a fork.

## Bad

```python
from torch.utils.data import Dataset


class Pictures(Dataset):
    def __getitem__(self, i):
        return self.x[i].cuda()
```

## Good

```python
from torch.utils.data import Dataset


class Pictures(Dataset):
    def __getitem__(self, i):
        return self.x[i]
```

## Fix

Return tensors of the host, pin them in the loader, and move whole batches in the loop with `non_blocking=True`.

## How sure

92 %.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchkiln.checks.lint import names
from torchkiln.checks.lint.rules.p301_move_in_forward import moves
from torchkiln.checks.lint.source import Class, Function, dotted, keyword
from torchkiln.checks.lint.view import Found, View


def check(view: View) -> Iterator[Found]:
    """One finding for each move."""
    seen: set[Function] = set()
    for one in view.classes:
        getitem = one.methods.get("__getitem__")
        if getitem is not None and view.project.is_dataset(one):
            yield from _moves(view, getitem, seen)
    for call, function in view.calls(names.LOADER):
        collate = keyword(call, "collate_fn")
        if collate is None:
            continue
        name = dotted(collate)
        home = function.owner
        target = (
            home.methods.get(name[5:])
            if home and name.startswith("self.")
            else view.project.object(function.source.resolve(collate), function.source)
        )
        if isinstance(target, Class):
            target = target.methods.get("__call__")
        if isinstance(target, Function):
            yield from _moves(view, target, seen)
    for source in view.sources:
        for name, function in source.top.inner.items():
            if "collate" in name:
                yield from _moves(view, function, seen)


def _moves(view: View, function: Function, seen: set[Function]) -> Iterator[Found]:
    if function in seen:
        return
    seen.add(function)
    for call in function.calls:
        if moves(call, function):
            yield Found(call, function.source, "a sample is moved to the device in the data set")
        target = view.project.target(call, function)
        if isinstance(target, Function):
            yield from _moves(view, target, seen)
