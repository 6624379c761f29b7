"""The loss does not change by a bit.

## What

The loss is the same number for one batch after the other, to the last bit.

## Why

What is minimised does not depend on the data or the model, or nothing is trained.

## Bad

```python
for x, y in loader:
    optimizer.zero_grad()
    scores = model(x)
    loss = criterion(scores * 0, y)
    loss.backward()
    optimizer.step()
```

## Good

```python
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Fix

Look for a zero, a saturated activation or a constant on the way from the model to the loss.

## How sure

96 %, from the sixth batch on.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from torchkiln.checks.guard.known import content
from torchkiln.checks.guard.watch import Watch

LOOKED_AT = 6


class Check:
    """Compares the first losses."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.values: list[float] = []
        self.batches: set[int | None] = set()

    def on_backward(self, root: Tensor, given: dict[str, Any]) -> None:
        if not self.watch.closely or root.numel() != 1 or len(self.values) >= LOOKED_AT:
            return
        call = self.watch.last
        first = call.first if call else None
        self.values.append(float(root.detach()))
        self.batches.add(content([first]) if first is not None else None)
        same = len(set(self.values)) == 1 and self.values[0] != 0 and math.isfinite(self.values[0])
        if len(self.values) == LOOKED_AT and same and len(self.batches) >= LOOKED_AT - 1:
            self.watch.found(
                "R521", "FAIL", f"the loss was {self.values[0]!r} for {LOOKED_AT} different batches in a row"
            )
