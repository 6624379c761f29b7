"""Inputs are made non-contiguous at each step.

## What

A training loop permutes or transposes each batch before it gives it to the model, and does not make it contiguous.

## Why

The model's kernels read memory in strides, or copy it in every layer that cannot. Done once in the data set, or
with `channels_last`, it costs nothing.

## Bad

```python
for x, y in loader:
    x = x.permute(0, 3, 1, 2)
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Good

```python
for x, y in loader:
    x = x.permute(0, 3, 1, 2).contiguous()
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Fix

Store the samples in the order that the model wants, or call `.contiguous()` once.

## How sure

80 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.events import Event
from torchkiln.checks.lint.source import Function, dotted
from torchkiln.checks.lint.values import Frame
from torchkiln.checks.lint.view import Found, View

TURNING = ("permute", "transpose", "swapaxes", "movedim", "t", "swapdims")


def check(view: View) -> Iterator[Found]:
    """One finding for each input."""
    seen = set()
    for region in view.regions:
        if region.loop is None or not region.of("backward"):
            continue
        for run in region.of("forward"):
            assert isinstance(run.node, ast.Call)
            for given in run.node.args:
                found = _turned(view, given, run, run.frame)
                if found is not None and found[0] not in seen:
                    seen.add(found[0])
                    yield Found(found[0], found[1].source, "each batch is turned, and read in strides from then on")


def _turned(view: View, given: ast.expr, run: Event, frame: Frame, depth: int = 0) -> tuple[ast.AST, Function] | None:
    """The turn that an input has just gone through, if it was a batch's own."""
    given, frame = view.values.follow(given, frame)
    if isinstance(given, ast.Call) and isinstance(given.func, ast.Attribute):
        if given.func.attr in TURNING:
            return given, frame.function
        if given.func.attr in ("to", "cuda", "float", "half", "double", "requires_grad_"):
            return _turned(view, given.func.value, run, frame, depth + 1)
        target = view.project.target(given, frame.function)
    else:
        target = view.project.target(given, frame.function) if isinstance(given, ast.Call) else None
    if isinstance(given, ast.Call) and isinstance(target, Function) and depth < 3:
        inner = view.values.enter(given, target, frame)
        for one in target.returns:
            found = _turned(view, one, run, inner, depth + 1)
            if found is not None:
                return found
    if isinstance(given, ast.Name) and depth < 4:
        assigns = view.flow.reaching(given.id, given, frame.function)
        if (
            len(assigns) == 1
            and assigns[0].value is not None
            and assigns[0].how == "="
            and dotted(assigns[0].value) != given.id
        ):
            return _turned(view, assigns[0].value, run, frame, depth + 1)
    return None
