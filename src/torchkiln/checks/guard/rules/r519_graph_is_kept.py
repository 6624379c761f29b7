"""The graph of each step is kept.

## What

What remembers how losses were computed is not let go after the step: a running total or a list holds the losses
themselves, or each backward pass goes through the steps before it.

## Why

Memory, or the time of a step, grows until the program ends.

## Bad

```python
total = 0
for epoch in range(2):
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss
```

## Good

```python
total = 0
for epoch in range(2):
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item()
```

## Fix

Add up `loss.item()` or `loss.detach()`; detach the state that is carried over from one batch to the next.

## How sure

95 %. A WARN where graphs are kept; a FAIL where the backward pass itself grows at each of the first steps.
"""

from __future__ import annotations

import weakref
from itertools import pairwise
from typing import Any

from torch import Tensor

from torchkiln.checks.guard import graph
from torchkiln.checks.guard.known import Stepping
from torchkiln.checks.guard.watch import Watch

MARKED = 8


class Check:
    """Looks whether the graphs of the first steps are still there some steps later."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.kept: list[weakref.ref[_Mark]] = []
        self.nodes: list[int] = []
        self.retained = False

    def on_backward(self, root: Tensor, given: dict[str, Any]) -> None:
        if self.watch.step >= MARKED or root.grad_fn is None:
            return
        mark = _Mark()
        root.grad_fn.metadata["torchkiln"] = mark  # type: ignore[index]
        self.kept.append(weakref.ref(mark))
        if given.get("retain_graph"):
            self.nodes.append(graph.walk(root).nodes)
            self._look_for_growth()

    def on_step(self, stepping: Stepping) -> None:
        if self.watch.step == MARKED and self.kept:
            alive = sum(ref() is not None for ref in self.kept)
            if alive > 0.7 * len(self.kept) and alive >= 4:
                text = (
                    f"the graphs of {alive} of the first {len(self.kept)} backward passes "
                    f"are still held after {self.watch.step} steps"
                )
                self.watch.found("R519", "WARN", text)
            self.kept = []

    def _look_for_growth(self) -> None:
        grown = [b - a for a, b in pairwise(self.nodes)]
        if len(grown) >= 3 and len(set(grown)) == 1 and grown[0] > 0:
            text = (f"the graph of each backward pass is {grown[0]} operations longer than that of the one before, "
                    f"{self.nodes[-1]} by now: it goes through all steps so far")  # fmt: skip
            self.watch.found("R519", "FAIL", text)
            self.nodes = []


class _Mark:
    """Lives as long as the graph that it is put into."""
