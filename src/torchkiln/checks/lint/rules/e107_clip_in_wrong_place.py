"""Gradients are clipped before backward or after the step.

## What

`clip_grad_norm_` or `clip_grad_value_` does not stand between `backward()` and `step()`.

## Why

Before `backward()` there is nothing to clip, after `step()` it is too late: nothing is ever clipped.

## Bad

```python
import torch

for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    loss.backward()
    optimizer.step()
```

## Good

```python
import torch

for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
```

## Fix

Clip behind `backward()` and before `step()`.

## How sure

97 %.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchkiln.checks.lint.order import Region, together
from torchkiln.checks.lint.view import Found, View, at


def check(view: View) -> Iterator[Found]:
    """One finding for each clipping in the wrong place."""
    for region in view.regions:
        yield from _region(region)


def _region(region: Region) -> Iterator[Found]:
    for place, clip in enumerate(region.events):
        if clip.kind != "clip" or region.of("touch"):
            continue
        acting = ("backward", "step")
        before = [e for e in region.events[:place] if e.kind in acting and together(e, clip)]
        after = [e for e in region.events[place + 1 :] if e.kind in acting and together(e, clip)]
        last = before[-1].kind if before else ""
        following = after[0].kind if after else ""
        if last == "step" and following != "step":
            yield at(clip, "the gradients are clipped after the step that used them")
        elif not last and following == "backward" and any(e.kind == "step" for e in after):
            yield at(clip, "the gradients are clipped before backward() has made them")
