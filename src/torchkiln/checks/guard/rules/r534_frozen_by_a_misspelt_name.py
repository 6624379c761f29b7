"""Parameters are frozen by a misspelt name.

## What

`require_grad`, or another name that is not `requires_grad`, was set on parameters, and does nothing.

## Why

The parameters are trained although they were meant to be frozen.

## Bad

```python
for p in model[0].parameters():
    p.require_grad = False
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Good

```python
for p in model[0].parameters():
    p.requires_grad = False
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Fix

Write `requires_grad`, or `module.requires_grad_(False)`.

## How sure

99 %.
"""

from __future__ import annotations

import difflib

from torchkiln.checks.guard.known import Stepping
from torchkiln.checks.guard.watch import Watch


class Check:
    """Looks at the names that were set on parameters, at the first step."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_step(self, stepping: Stepping) -> None:
        if stepping.steps:
            return
        for parameter in stepping.parameters:
            for name in vars(parameter):
                if name != "requires_grad" and difflib.SequenceMatcher(None, name, "requires_grad").ratio() > 0.85:
                    text = (
                        f"{name!r} was set on a parameter of shape "
                        f"{list(parameter.shape)}, and means nothing: it is trained"
                    )
                    self.watch.found("R534", "FAIL", text)
                    return
