"""Parameters are frozen after the optimizer took them.

## What

`requires_grad = False` is set on parameters that an optimizer holds already.

## Why

They get no gradients any more, but the optimizer goes on with what it has: momentum and weight decay move "frozen"
weights, and gradients that are left over are used once more.

## Bad

```python
import torch

model = Net()
optimizer = torch.optim.AdamW(model.parameters())
for p in model.backbone.parameters():
    p.requires_grad = False
```

## Good

```python
import torch

model = Net()
for p in model.backbone.parameters():
    p.requires_grad = False
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
```

## Fix

Freeze first, and give the optimizer the parameters that are left.

## How sure

88 %. Silent where the same parameters are thawed again.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchkiln.checks.lint.view import Found, View, at


def check(view: View) -> Iterator[Found]:
    """One finding for each freezing."""
    for trace in view.traces:
        for place, made in enumerate(trace.events):
            if made.kind != "make":
                continue
            for event in trace.events[place + 1 :]:
                if event.kind == "make" and (event.key == made.key or set(event.names) & set(made.names)):
                    break
                if event.kind != "freeze" or not any(_part(event.key, n) for n in made.names):
                    continue
                thawed = any(e.kind == "thaw" and _part(e.key, event.key) for e in trace.events)
                trained = any(
                    e.kind in ("backward", "step") and e.loops and set(e.loops) & set(event.loops) for e in trace.events
                )
                if not thawed and not trained:
                    yield at(event, "these parameters are frozen after the optimizer has taken them")


def _part(key: str, whole: str) -> bool:
    return key == whole or key.startswith(f"{whole}.")
