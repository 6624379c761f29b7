"""A step has no gradients to use.

## What

Gradients are cleared between `backward()` and the step, the step comes before `backward()`, or no step is ever taken
with them.

## Why

The optimizer changes nothing, or only what momentum and weight decay do.

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

Keep the order: clear, forward, `backward()`, step.

## How sure

98 %, from the second time on.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from torchkiln.checks.guard.known import Stepping
from torchkiln.checks.guard.watch import Watch

MOST_CLEARED = 4
"""Backward passes whose gradients may be thrown away before the first step."""


class Check:
    """Follows the order of backward, clearing and step of each optimizer."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.empty: dict[int, list[bool]] = {}
        self.cleared: dict[int, int] = {}
        self.backwards = 0

    def on_backward(self, root: Tensor, given: dict[str, Any]) -> None:
        self.backwards += 1

    def on_clear(self, stepping: Stepping) -> None:
        if not stepping.reached or stepping.steps or stepping.skipped or stepping.in_step:
            return
        if any(not isinstance(p, nn.Parameter) for p in self.watch.leaves.values()):
            return  # the gradient of an input was asked for
        times = self.cleared[id(stepping)] = self.cleared.get(id(stepping), 0) + 1
        if times >= MOST_CLEARED:
            text = (
                f"the gradients of {times} backward passes were cleared, and {stepping.name} has taken no step with any"
            )
            self.watch.found("R505", "FAIL", text)

    def on_step(self, stepping: Stepping) -> None:
        self.cleared[id(stepping)] = 0
        empty = self.empty.setdefault(id(stepping), [])
        if stepping.reached:
            empty.clear()
            return
        forwards = bool(self.watch.calls)
        empty.append(stepping.lost)
        if len(empty) < 2 or not forwards:
            return
        outside = [m for call in self.watch.calls if (m := call.model.ref()) is not None and not _is_of(stepping, m)]
        if outside and not self.watch.closely:
            text = (
                f"{stepping.name} has no gradients any more, and trains no parameter of "
                f"{type(outside[0]).__name__}: it is of an older model"
            )
            self.watch.found("R505", "FAIL", text)
        elif any(empty):
            text = (f"{stepping.name} took {len(empty)} steps without gradients: those "
                "of each backward pass were cleared before "
                    "the step could use them")  # fmt: skip
            self.watch.found("R505", "FAIL", text)
        elif not self.backwards and len(self.watch.living()) == 1:
            text = f"{stepping.name} took {len(empty)} steps, and backward() was never called"
            self.watch.found("R505", "FAIL", text)


def _is_of(stepping: Stepping, module: nn.Module) -> bool:
    """Whether an optimizer holds a parameter of a module."""
    mine = {id(p) for p in stepping.parameters}
    return any(id(p) in mine for p in module.parameters())
