"""The scheduler steps before the optimizer.

## What

In one turn of a loop `scheduler.step()` comes before the first `optimizer.step()`.

## Why

The first value of the schedule is skipped, and all later ones come a turn too early; torch warns of it at run
time.

## Bad

```python
import torch

scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
for epoch in range(epochs):
    scheduler.step()
    for x, y in loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
```

## Good

```python
import torch

scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
for epoch in range(epochs):
    for x, y in loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
    scheduler.step()
```

## Fix

Call `scheduler.step()` behind `optimizer.step()`.

## How sure

96 %. Silent for schedulers of unknown making that are given a number, as some libraries count for themselves.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.events import Event
from torchkiln.checks.lint.order import always_with, innermost_common, together
from torchkiln.checks.lint.view import Found, View, at


def check(view: View) -> Iterator[Found]:
    """One finding for each scheduler."""
    for trace in view.traces:
        steps = [e for e in trace.events if e.kind == "step"]
        for event in trace.events:
            if event.kind != "schedule" or not event.loops or not _plain(event):
                continue
            inner = [s for s in steps if event.loops[-1] in s.loops and together(event, s)]
            order = trace.events.index(event)
            before = [s for s in inner if trace.events.index(s) < order]
            if not inner or before or not always_with(event, inner[0]) or _foreign(trace.events, event):
                continue
            if innermost_common(event, inner[0]) is event.loops[-1]:
                yield at(event, "the scheduler steps before the optimizer does")


def _plain(event: Event) -> bool:
    """Whether it is torch's own, or is called as those are."""
    call = event.node
    return event.how != "" or (isinstance(call, ast.Call) and not call.args and not call.keywords)


def _foreign(events: list[Event], event: Event) -> bool:
    return any(e.kind == "foreign" and set(e.loops) & set(event.loops) for e in events)
