"""Backward or step runs inside autocast.

## What

`backward()` or `step()` stands inside the `with torch.autocast(...)`.

## Why

Autocast is for the forward pass and the loss. Backward uses the types that forward chose; under autocast
operations of custom functions, checkpointing and double backward may be cast a second time. torch advises against
it.

## Bad

```python
import torch

for x, y in loader:
    optimizer.zero_grad()
    with torch.autocast("cuda"):
        loss = criterion(model(x), y)
        loss.backward()
    optimizer.step()
```

## Good

```python
import torch

for x, y in loader:
    optimizer.zero_grad()
    with torch.autocast("cuda"):
        loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
```

## Fix

Move `backward()` and `step()` out of the `with`.

## How sure

95 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.view import Found, View, at


def check(view: View) -> Iterator[Found]:
    """One finding for each autocast."""
    for trace in view.traces:
        seen: set[ast.AST] = set()
        for event in trace.events:
            if event.kind in ("backward", "step") and event.autocast is not None and event.autocast not in seen:
                seen.add(event.autocast)
                yield at(event, f"{event.kind} inside autocast")
