"""Gradients are clipped where it has no effect.

## What

Gradients are clipped before `backward()` has made them or after the step has used them, while they are still scaled,
or the list of parameters is empty.

## Why

The step uses gradients of any size; with a loss scale it uses gradients that are far too small.

## Bad

```python
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
```

## Good

```python
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
```

## Fix

Clip between `backward()` and the step; with a `GradScaler` call `scaler.unscale_(optimizer)` first.

## How sure

98 %, from the second time on.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchkiln.checks.guard.known import Stepping
from torchkiln.checks.guard.watch import Watch


class Check:
    """Looks at the state of the gradients when they are clipped."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.times: dict[str, int] = {}
        self.scaled = self.unscaled = False

    def on_scale(self, scaler: Any, given: Any, done: Any) -> None:
        self.scaled = True

    def on_unscale(self, scaler: Any, given: Any, done: Any) -> None:
        self.unscaled = True

    def on_scale_asked(self, scaler: Any, given: Any, done: Any) -> None:
        self.unscaled = True  # it may be unscaled by hand

    def on_scaler_update(self, scaler: Any, given: Any, done: Any) -> None:
        self.scaled = self.unscaled = False

    def on_step(self, stepping: Stepping) -> None:
        self.scaled = self.unscaled = False

    def on_clip(self, name: str, parameters: list[Tensor]) -> None:
        if not self.watch.closely:
            return
        if not parameters:
            self.watch.found("R516", "FAIL", f"{name} is given no parameters, such as a generator that was read before")
            return
        if said := self._wrong(parameters):
            times = self.times[said] = self.times.get(said, 0) + 1
            if times == 2:
                self.watch.found("R516", "FAIL", f"{name} is called {said}")

    def _wrong(self, parameters: list[Tensor]) -> str:
        ids = {id(p) for p in parameters}
        mine = [s for s in self.watch.living() if any(id(p) in ids for p in s.parameters)]
        if self.scaled and not self.unscaled:
            return "on gradients that the loss scale still multiplies: scaler.unscale_(optimizer) is missing before it"
        if len(mine) != 1 or mine[0].reached:
            return ""
        if all(p.grad is None for p in parameters):
            return "when there are no gradients: before backward(), or after they were cleared"
        if mine[0].used and not mine[0].backwards:
            return f"after the step of {mine[0].name} has used the gradients"
        return "before backward() has made the gradients" if mine[0].steps or mine[0].lost else ""
