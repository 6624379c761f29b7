"""A loss scale is used in part.

## What

A `GradScaler` steps an optimizer although the loss of the backward pass was not scaled, or the loss was scaled and the
optimizer steps without the scaler; or the scaler leaves out one step after the other.

## Why

Gradients are divided by a factor they were never multiplied with, or are tens of thousands of times too large.

## Bad

```python
scaler = torch.amp.GradScaler("cpu")
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    scaler.scale(loss).backward()
    optimizer.step()
```

## Good

```python
scaler = torch.amp.GradScaler("cpu")
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
```

## Fix

`scaler.scale(loss).backward()`, `scaler.step(optimizer)`, `scaler.update()`: all three, each once a step.

## How sure

98 %. Steps that are left out again and again are a WARN.
"""

from __future__ import annotations

from typing import Any

from torchkiln.checks.guard.known import Stepping
from torchkiln.checks.guard.watch import Watch

MOST_SKIPPED = 20


class Check:
    """Follows a scale from the loss to the step."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.scaled = self.by_hand = self.in_step = False
        self.skipped = 0

    def on_scale(self, scaler: Any, given: Any, done: Any) -> None:
        self.scaled = True

    def on_unscale(self, scaler: Any, given: Any, done: Any) -> None:
        self.by_hand = True

    def on_scale_asked(self, scaler: Any, given: Any, done: Any) -> None:
        self.by_hand = True

    def on_scaler_step(self, scaler: Any, stepping: Stepping) -> None:
        self.in_step = True
        if not self.scaled and stepping.reached and self.watch.closely:
            text = (
                f"scaler.step({stepping.name}) divides gradients by the loss scale, "
                "but the loss was not scaled: backward() was "
            )
            self.watch.found("R513", "FAIL", text + "called on it directly")

    def on_step_begin(self, stepping: Stepping) -> None:
        if self.scaled and not self.in_step and not self.by_hand and stepping.reached and self.watch.closely:
            text = (
                f"{stepping.name} steps without the scaler, with gradients that are still multiplied by the loss scale"
            )
            self.watch.found("R513", "FAIL", text)

    def on_step(self, stepping: Stepping) -> None:
        self.skipped = 0
        self.in_step = False

    def on_skip(self, scaler: Any, stepping: Stepping) -> None:
        self.skipped += 1
        self.in_step = False
        if self.skipped == MOST_SKIPPED:
            text = (
                f"{self.skipped} steps in a row were left out: the gradients are not finite at any scale that was tried"
            )
            self.watch.found("R513", "WARN", text)

    def on_scaler_update(self, scaler: Any, given: Any, done: Any) -> None:
        self.scaled = self.by_hand = self.in_step = False
