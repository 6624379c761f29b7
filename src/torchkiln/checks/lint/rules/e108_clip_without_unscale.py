"""Gradients are clipped under a scaler without unscale.

## What

`scaler.scale(loss).backward()`, a clip, `scaler.step(optimizer)`, and no `scaler.unscale_(optimizer)` before the
clip.

## Why

The gradients are still multiplied by the scale, often 65,536: nearly all of them are clipped to almost nothing.

## Bad

```python
import torch

scaler = torch.amp.GradScaler("cuda")
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    scaler.scale(loss).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
```

## Good

```python
import torch

scaler = torch.amp.GradScaler("cuda")
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
```

## Fix

Call `scaler.unscale_(optimizer)` before the clip.

## How sure

97 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.events import Event
from torchkiln.checks.lint.order import Region, together
from torchkiln.checks.lint.view import Edit, Found, View, at


def check(view: View) -> Iterator[Found]:
    """One finding for each such clip."""
    for region in view.regions:
        for place, clip in enumerate(region.events):
            if clip.kind != "clip":
                continue
            before = [e for e in region.events[:place] if together(e, clip)]
            step = next((e for e in region.events[place + 1 :] if e.kind == "step" and together(e, clip)), None)
            scaled = any(e.kind == "backward" and e.how == "scaled" for e in before)
            if step is not None and step.how == "scaled" and scaled and not any(e.kind == "unscale" for e in before):
                message = "the gradients are still scaled when they are clipped"
                yield at(clip, message, _mend(region, clip, step), safe=False)


def _mend(region: Region, clip: Event, step: Event) -> list[Edit]:
    source = clip.function.source
    if step.function is not clip.function or not isinstance(step.node, ast.Call):
        return []
    func = step.node.func
    if not isinstance(func, ast.Attribute) or not step.node.args:
        return []
    line = source.statement(clip.node)
    place = (line.lineno, line.col_offset)
    call = f"{source.segment(func.value)}.unscale_({source.segment(step.node.args[0])})"
    return [Edit(place, place, f"{call}\n{' ' * line.col_offset}")]
