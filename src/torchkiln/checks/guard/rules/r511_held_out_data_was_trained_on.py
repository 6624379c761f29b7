"""Held-out samples were trained on.

## What

Samples that an evaluation uses, value for value, were in batches of the training.

## Why

The score measures memory, and says nothing of new data.

## Bad

```python
whole = TensorDataset(*make(96))
loader = DataLoader(torch.utils.data.Subset(whole, range(0, 80)), batch_size=8, shuffle=True)
val_loader = DataLoader(torch.utils.data.Subset(whole, range(60, 96)), batch_size=8)
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
model.eval()
with torch.no_grad():
    for x, y in val_loader:
        hits = (model(x).argmax(1) == y).sum()
```

## Good

```python
whole = TensorDataset(*make(96))
loader = DataLoader(torch.utils.data.Subset(whole, range(0, 60)), batch_size=8, shuffle=True)
val_loader = DataLoader(torch.utils.data.Subset(whole, range(60, 96)), batch_size=8)
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
model.eval()
with torch.no_grad():
    for x, y in val_loader:
        hits = (model(x).argmax(1) == y).sum()
```

## Fix

Split by sample, patient or time before anything else, and check that no sample is in two splits.

## How sure

96 % where a good part of a loader's or a validation's samples were trained on. An evaluation of the whole training
data, which may be meant, is not spoken of unless the code calls it validation or test.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor

from torchkiln.checks.guard import place
from torchkiln.checks.guard.known import Call, Model
from torchkiln.checks.guard.watch import Watch

MOST_ROWS, MOST_STEPS = 20_000, 500
DONE = {("R511", "FAIL")}


class Check:
    """Keeps a number for each sample of the first epoch, and looks for those of evaluations."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.trained: dict[Model, set[int]] = {}
        self.given: list[weakref.ref[Tensor]] = []
        self.source: Any = None
        self.seen = self.known = 0
        self.named = self.same = False

    def on_forward(self, call: Call) -> None:
        x = call.first
        if call.grad and call.training:
            self._settle()
            trained = self.trained.setdefault(call.model, set())
            if len(trained) < MOST_ROWS and self.watch.step < MOST_STEPS and x is not None:
                trained.update(rows(x))
                self.given = [*self.given[-3:], weakref.ref(x)]
                self.source = self._dataset()
        elif (
            not call.grad
            and x is not None
            and call.model.trained
            and call.model in self.trained
            and self.watch.told.isdisjoint(DONE)
        ):
            keys = rows(x)
            self.seen += len(set(keys))
            self.known += len(self.trained[call.model].intersection(keys))
            self.same = self.same or any(ref() is x for ref in self.given)
            self.named = self.named or place.speaks_of_held_out_data()
            self.same = self.same or (self._dataset() is not None and self._dataset() is self.source)
            if self.seen >= 4096:
                self._settle()

    def _dataset(self) -> Any:
        loader = self.watch.loader() if self.watch.loader else None
        return getattr(loader, "dataset", None)

    def on_end(self) -> None:
        self._settle()

    def _settle(self) -> None:
        seen, known, named, same = self.seen, self.known, self.named, self.same
        self.seen = self.known = 0
        self.named = self.same = False
        if seen < 8 or known < 0.05 * seen or known < 4 or (same and known > 0.95 * seen):
            return
        if named or (self._dataset() is not None and not same and known < 0.95 * seen):
            sure = (named and not same) or known < 0.95 * seen
            text = f"{known} of {seen} samples of an evaluation were in batches of the training"
            self.watch.found("R511", "FAIL" if sure and known >= 0.2 * seen else "WARN", text)


def rows(x: Tensor) -> list[int]:
    """A number for the contents of each sample; none where samples may be alike by chance.

    Args:
        x: Floating, [batch, ...].
    """
    if x.ndim < 2 or x.dtype != torch.float32 or x.device.type != "cpu" or x.shape[0] > 4096:
        return []
    flat = x.detach().reshape(x.shape[0], -1)
    if flat.shape[1] < 4:
        return []
    step = max(1, flat.shape[1] // 32)
    some = flat[:, ::step][:, :32].contiguous()
    if not bool((some != some.round()).any(1).all()):
        return []
    factors = torch.arange(1, some.shape[1] + 1, dtype=torch.int64) * 0x9E3779B97F4A7C1 | 1
    found: list[int] = (some.view(torch.int32).long() * factors).sum(1).tolist()
    return found
