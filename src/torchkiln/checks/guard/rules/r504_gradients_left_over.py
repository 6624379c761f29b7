"""Gradients are never cleared.

## What

A step uses gradients that hold those of earlier steps, since nothing cleared them in between.

## Why

Each step goes by the sum of all batches so far: training slows down, oscillates or diverges.

## Bad

```python
for x, y in loader:
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
```

## Good

```python
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
```

## Fix

Call `optimizer.zero_grad()` once before the first `backward()` of each step.

## How sure

99 %. Gradients that were scaled or cleared by hand are not spoken of.
"""

from __future__ import annotations

from torch import Tensor

from torchkiln.checks.guard.known import Stepping
from torchkiln.checks.guard.watch import Watch


class Check:
    """Compares the gradients that a step uses with those that the step before has used."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_step(self, stepping: Stepping) -> None:
        if not stepping.stale or not stepping.reached:
            return
        stale = [p for p in stepping.parameters if id(p) in stepping.stale and self._is_the_same(stepping, p)]
        if stale:
            text = (f"{stepping.name} takes a step with gradients in which those "
                "of the step before are still summed up "
                    f"({len(stale)} of {len(stepping.parameters)} parameters): nothing cleared them")  # fmt: skip
            self.watch.found("R504", "FAIL", text)

    def _is_the_same(self, stepping: Stepping, parameter: Tensor) -> bool:
        used = stepping.used.get(id(parameter))
        grad = parameter.grad
        return used is not None and grad is not None and used[0] == id(grad) and grad._version > used[1]
