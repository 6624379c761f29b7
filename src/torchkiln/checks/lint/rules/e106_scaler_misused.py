"""The gradient scaler is misused.

## What

With a `GradScaler`: a step without `update()`, `update()` before the step, `optimizer.step()` beside or in place
of `scaler.step(optimizer)`, or `backward()` on the loss itself where the scaler steps.

## Why

Without `update()` the scale never adapts. An optimizer that steps by itself uses gradients that are thousands of
times too large. A scaler that unscales gradients which were never scaled makes them vanish.

## Bad

```python
import torch

scaler = torch.amp.GradScaler("cuda")
for x, y in loader:
    optimizer.zero_grad()
    with torch.autocast("cuda"):
        loss = criterion(model(x), y)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
```

## Good

```python
import torch

scaler = torch.amp.GradScaler("cuda")
for x, y in loader:
    optimizer.zero_grad()
    with torch.autocast("cuda"):
        loss = criterion(model(x), y)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
```

## Fix

In each turn: `scaler.scale(loss).backward()`, `scaler.step(optimizer)`, `scaler.update()`.

## How sure

96 %.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchkiln.checks.lint.order import Region, together
from torchkiln.checks.lint.view import Found, View, at


def check(view: View) -> Iterator[Found]:
    """At most one finding of each kind for an iteration."""
    for region in view.regions:
        if any("scaler" in (e.function.owner.name.lower() if e.function.owner else "") for e in region.of("step")):
            continue  # a scaler's own code
        scaled = [e for e in region.of("step") if e.how == "scaled"]
        plain = [e for e in region.of("step") if e.how != "scaled"]
        backs = region.of("backward")
        if scaled and not region.of("update") and region.repeats and not region.opaque(*scaled[0].names):
            yield at(scaled[-1], "scaler.step() without scaler.update() in the same loop")
        yield from _early(region)
        for step in plain:
            if any(b.how == "scaled" and together(b, step) for b in backs) and _own(region, step.key):
                yield at(step, "optimizer.step() on scaled gradients; the scaler should step")
        if scaled and backs and not any(b.how == "scaled" for b in backs):
            back = next((b for b in backs if together(b, scaled[0])), None)
            if back is not None:
                yield at(back, "backward() on a loss that was not scaled, and the scaler steps")


def _own(region: Region, key: str) -> bool:
    """Whether the optimizer is the scaler's, or the only one."""
    keys = {e.key for e in region.of("step")}
    backs = [e for e in region.of("backward") if e.how != "scaled"]
    unscaled = any(e.kind == "unscale" and e.key == key for e in region.events)
    return (len(keys) == 1 and not backs and not unscaled) or any(
        e.key == key and e.how == "scaled" for e in region.of("step")
    )


def _early(region: Region) -> Iterator[Found]:
    """An update before the first step of its turn."""
    acting = [e for e in region.events if e.kind == "update" or (e.kind == "step" and e.how == "scaled")]
    if [e.kind for e in acting] == ["update", "step"] and together(*acting) and acting[0].loops == acting[1].loops:
        yield at(acting[0], "scaler.update() before scaler.step()")
