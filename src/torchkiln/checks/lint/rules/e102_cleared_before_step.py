"""Gradients are cleared between backward and step.

## What

`zero_grad()` stands behind `backward()` and before the `step()` that should use its gradients.

## Why

The step then finds no gradients and changes nothing, or only what momentum and weight decay do.

## Bad

```python
for x, y in loader:
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
```

## Good

```python
for x, y in loader:
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
```

## Fix

Move `zero_grad()` before `backward()` or behind `step()`.

## How sure

99 %.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchkiln.checks.lint.order import Region, together
from torchkiln.checks.lint.view import Found, View, at


def check(view: View) -> Iterator[Found]:
    """One finding for each clearing that comes too early."""
    for region in view.regions:
        yield from _region(region)


def _region(region: Region) -> Iterator[Found]:
    optimizers = {e.key for e in region.of("step")}
    for place, step in enumerate(region.events):
        if step.kind != "step" or step.how == "closure":
            continue
        cleared = None
        for event in reversed(region.events[:place]):
            if not together(event, step):
                continue
            if event.kind == "step" and event.key == step.key:
                break
            if event.kind == "backward":
                if cleared is not None and together(event, cleared):
                    yield at(cleared, "the gradients of this backward are cleared before the step can use them")
                break
            mine = event.key == step.key or (event.key == "*" and len(optimizers) == 1)
            if event.kind == "zero" and mine and event.loops == step.loops and set(event.path) <= set(step.path):
                cleared = event
