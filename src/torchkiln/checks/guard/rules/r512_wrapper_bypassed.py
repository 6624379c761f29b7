"""Processes train apart.

## What

The model was wrapped in `DistributedDataParallel`, and the loop calls the model inside it; or the parameters of two
processes differ after the same steps.

## Why

Gradients are not averaged: each process trains a model of its own, and the one that is saved has seen a part of the
data.

## Bad

```python
import os

os.environ.update(MASTER_ADDR="localhost", MASTER_PORT="0")
torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
try:
    ddp = nn.parallel.DistributedDataParallel(model)
    for x, y in loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
finally:
    torch.distributed.destroy_process_group()
```

## Good

```python
import os

os.environ.update(MASTER_ADDR="localhost", MASTER_PORT="0")
torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
try:
    ddp = nn.parallel.DistributedDataParallel(model)
    for x, y in loader:
        optimizer.zero_grad()
        criterion(ddp(x), y).backward()
        optimizer.step()
finally:
    torch.distributed.destroy_process_group()
```

## Fix

Call the wrapped model: `ddp(x)`, not `model(x)` or `ddp.module(x)`, wherever gradients are recorded.

## How sure

98 %.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch

from torchkiln.checks.guard.known import Stepping
from torchkiln.checks.guard.watch import Watch

COMPARED = 2
"""The step, from 0, after which each process writes down the sum of its parameters."""


class Check:
    """Compares what is called with what was wrapped, and after some steps the processes."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.wrapped: list[weakref.ref[Any]] = []

    def on_wrapper(self, wrapper: Any) -> None:
        self.wrapped.append(weakref.ref(wrapper))

    def on_step(self, stepping: Stepping) -> None:
        if not self.watch.closely or not self.wrapped:
            return
        living = [w for ref in self.wrapped if (w := ref()) is not None]
        called = [m for call in self.watch.calls if (m := call.model.ref()) is not None]
        for wrapper in living:
            inside = any(m is wrapper.module for m in called)
            if inside and stepping.steps == 1 and not any(m is wrapper for m in called):
                text = (
                    "steps are taken from forwards of "
                    f"{type(wrapper.module).__name__} itself, not of the wrapper around it"
                )
                self.watch.found("R512", "FAIL", text)
        if stepping.steps == COMPARED and torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
            summed = sum(float(p.detach().double().sum()) for w in living for p in w.module.parameters())
            self.watch.note({"rank": torch.distributed.get_rank(), "step": COMPARED + 1, "sum": repr(summed)})
