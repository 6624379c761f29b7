"""Averaged weights are never used.

## What

An `AveragedModel` is updated all the time, and was neither called nor saved when the program ends.

## Why

The average costs memory and time, and what is evaluated or kept are the last weights.

## Bad

```python
average = torch.optim.swa_utils.AveragedModel(model)
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
    average.update_parameters(model)
```

## Good

```python
average = torch.optim.swa_utils.AveragedModel(model)
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
    average.update_parameters(model)
average.eval()
with torch.no_grad():
    for x, y in val_loader:
        hits = (average(x).argmax(1) == y).sum()
```

## Fix

Evaluate and save the averaged model.

## How sure

80 %, a WARN.
"""

from __future__ import annotations

import weakref

from torch import nn

from torchkiln.checks.guard.watch import Watch


class Check:
    """Looks at the end which averages were used."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.averages: dict[int, weakref.ref[nn.Module]] = {}
        self.saved: set[int] = set()

    def on_average(self, average: nn.Module) -> None:
        self.averages.setdefault(id(average), weakref.ref(average))

    def on_state(self, module: nn.Module) -> None:
        self.saved.add(id(module))

    def on_end(self) -> None:
        for key, ref in self.averages.items():
            average = ref()
            if average is None:
                continue
            mine = {key, *(id(m) for m in average.modules())}
            if not mine & self.saved and not mine & {k for k, m in self.watch.models.items() if m.forwards}:
                self.watch.found("R529", "WARN", f"{type(average).__name__} was updated, and never called or saved")
