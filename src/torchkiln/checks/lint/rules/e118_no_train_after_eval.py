"""`eval()` is not followed by `train()` before the next epoch.

## What

A loop trains a model and switches it to `eval()`, and nothing in that loop switches it back.

## Why

From the second turn on the model trains in evaluation mode: no dropout, and batch norm with frozen statistics.

## Bad

```python
model.train()
for epoch in range(epochs):
    for x, y in train_loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
    model.eval()
    evaluate(model, val_loader)
```

## Good

```python
for epoch in range(epochs):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
    model.eval()
    evaluate(model, val_loader)
```

## Fix

Call `model.train()` at the head of each epoch, or behind each evaluation.

## How sure

96 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.events import Event, Trace, leaves
from torchkiln.checks.lint.order import innermost_common, together
from torchkiln.checks.lint.view import Found, View, at


def check(view: View) -> Iterator[Found]:
    """One finding for each switch."""
    for trace in view.traces:
        if any(e.kind == "foreign" for e in trace.events):
            continue
        for event in trace.events:
            if event.kind == "eval" and event.loops and _trains_on(trace, event) and not _ends(event):
                yield at(event, "nothing switches the model back to train() before it is trained again")


def _trains_on(trace: Trace, event: Event) -> bool:
    """Whether the model is trained again in a later turn, still in evaluation mode."""
    runs = [e for e in trace.events if e.kind == "forward" and e.key == event.key and _learns(trace, e)]
    for run in runs:
        loop = innermost_common(event, run)
        if loop is None:
            continue
        inside = [e for e in trace.events if loop in e.loops]
        if _back_on(inside, event):
            return False
        start, end = trace.events.index(run), trace.events.index(event)
        return together(run, event) or start != end
    return False


def _back_on(inside: list[Event], event: Event) -> bool:
    for other in inside:
        if other.kind == "train" and (
            other.key == event.key
            or event.key.startswith(f"{other.key}.")
            or ("@" not in other.key and "." not in other.key)
        ):
            return True
        if (
            other.kind in ("opaque",)
            and (event.key in other.names or any("." not in n and "@" not in n for n in other.names))
            and (
                "train" in other.how
                or "fit" in other.how
                or "epoch" in other.how
                or "mode" in other.how
                or "step" in other.how
            )
        ):
            return True
    return False


def _learns(trace: Trace, run: Event) -> bool:
    """Whether a model's call is followed by a backward in the same turn."""
    return run.no_grad is False and any(
        e.kind == "backward" and run.loops and run.loops[-1] in e.loops and together(e, run) for e in trace.events
    )


def _ends(event: Event) -> bool:
    """Whether the loop is left behind the switch."""
    source = event.function.source
    node: ast.AST = source.statement(event.node)
    while event.loops and node is not event.loops[-1].node and node in source.parents:
        parent = source.parents[node]
        body = getattr(parent, "body", [])
        last = body[-1] if isinstance(body, list) and leaves(body) else None
        if isinstance(last, ast.Break | ast.Raise) or (isinstance(last, ast.Return) and parent not in source.owners):
            return True
        node = parent
        if parent in source.owners:
            break
    return False
