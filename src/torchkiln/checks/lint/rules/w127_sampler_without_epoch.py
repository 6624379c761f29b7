"""A `DistributedSampler` is not told the epoch.

## What

A `DistributedSampler` that shuffles is used over several epochs, and nothing calls its `set_epoch(epoch)`.

## Why

It shuffles by a seed and the epoch: without the epoch every epoch has the same order.

## Bad

```python
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

sampler = DistributedSampler(train_set)
loader = DataLoader(train_set, sampler=sampler)
for epoch in range(epochs):
    for x, y in loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
```

## Good

```python
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

sampler = DistributedSampler(train_set)
loader = DataLoader(train_set, sampler=sampler)
for epoch in range(epochs):
    sampler.set_epoch(epoch)
    for x, y in loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
```

## Fix

Call `sampler.set_epoch(epoch)` at the head of each epoch.

## How sure

92 %. Silent beside Lightning and Accelerate, which do so themselves.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint import names
from torchkiln.checks.lint.source import constant, dotted, keyword
from torchkiln.checks.lint.view import Found, View

OTHERS = ("lightning", "accelerate", "transformers.Trainer", "set_epoch", "deepspeed", "ignite")


def check(view: View) -> Iterator[Found]:
    """One finding for each sampler."""
    for call, function in view.calls(names.SAMPLER):
        parent = function.source.parents.get(call)
        targets = [dotted(t) for t in parent.targets] if isinstance(parent, ast.Assign) else []
        given = dotted(call.args[0]) if call.args else ""
        if constant(keyword(call, "shuffle")) is False or any(names.HELD_OUT_NAME.search(w) for w in (*targets, given)):
            continue
        if not view.project.any_text(function.source, OTHERS) and view.trains(function.source):
            yield Found(
                call, function.source, "nothing calls set_epoch() of this sampler: every epoch has the same order"
            )
