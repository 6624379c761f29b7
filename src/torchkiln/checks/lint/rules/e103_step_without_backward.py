"""A step comes before or without backward.

## What

A training loop computes a loss and calls `optimizer.step()`, but `backward()` comes later in the turn, or never.

## Why

Without `backward()` there are no gradients and nothing is learned. Before it, the step uses those of the turn
before, which `zero_grad()` has mostly cleared.

## Bad

```python
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    optimizer.step()
    loss.backward()
```

## Good

```python
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
```

## Fix

Call `loss.backward()` behind the loss and before `optimizer.step()`.

## How sure

97 %. Silent where a call that cannot be seen into is given the loss.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.order import Region, together
from torchkiln.checks.lint.view import Found, View, at


def check(view: View) -> Iterator[Found]:
    """One finding for each step that has no gradients of its turn."""
    for region in view.regions:
        if region.loop is None and region.trace.root.name != "training_step":
            continue
        steps, backwards = region.of("step"), region.of("backward")
        ran = region.of("forward", "loss")
        if not steps or not ran or _elsewhere(region):
            continue
        if not backwards:
            if region.of("loss") and any(together(ran[0], s) for s in steps):
                yield at(steps[0], "this loop computes a loss and steps, but nothing in it calls backward()")
        else:
            yield from _early(region)


def _early(region: Region) -> Iterator[Found]:
    order = {id(e): n for n, e in enumerate(region.events)}
    first = region.of("backward")[0]
    for step in region.of("step"):
        if step.how == "closure" or not together(step, first) or first.loops != step.loops:
            continue
        losses = [e for e in region.of("forward", "loss") if order[id(e)] < order[id(step)]]
        if order[id(step)] < order[id(first)] and losses and len(region.of("step", key=step.key)) == 1:
            yield at(step, "this step comes before the backward() of its turn")


def _elsewhere(region: Region) -> bool:
    """Whether gradients may come from something that is not seen here."""
    if region.of("touch"):
        return True
    for event in region.of("opaque"):
        if (
            "loss" in event.how
            or "back" in event.how
            or "step" in event.how
            or "train" in event.how
            or "optim" in event.how
        ):
            return True
        if any("loss" in name.lower() or name.endswith("self") for name in event.names):
            return True
    source = region.events[0].function.source
    functions = {e.function for e in region.events}
    return any(
        source.called(c) == "torch.autograd.grad"
        or (isinstance(c.func, ast.Attribute) and c.func.attr in ("grad", "vjp"))
        for f in functions
        for c in f.calls
    )
