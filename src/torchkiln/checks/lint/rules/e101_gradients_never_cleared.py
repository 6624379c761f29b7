"""Gradients are never cleared.

## What

A loop calls `backward()` and `optimizer.step()`, and nothing in it clears the gradients: no `zero_grad()` of the
optimizer or the model, no `p.grad = None`.

## Why

`backward()` adds to the gradients that are there. Each step then follows the sum of all batches so far, and the
training diverges or crawls.

## Bad

```python
for x, y in loader:
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
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

Call `optimizer.zero_grad()` once for each `optimizer.step()`, before `backward()` or right behind the step.

## How sure

98 %. Silent where a call that cannot be seen into is given the optimizer or the model.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.events import Event
from torchkiln.checks.lint.order import Region
from torchkiln.checks.lint.view import Edit, Found, View, at


def check(view: View) -> Iterator[Found]:
    """One finding for each optimizer of a loop."""
    for region in view.regions:
        if not region.repeats or not region.of("backward"):
            continue
        for key in dict.fromkeys(e.key for e in region.of("step")):
            step = region.of("step", key=key)[0]
            if _cleared(region, key) or region.opaque(key, *_models(region, key)) or _once(step):
                continue
            before = [
                e
                for e in region.trace.events
                if e.kind == "zero" and e.key in (key, "*") and not set(e.loops) >= set(step.loops)
            ]
            more = "; it is cleared outside the loop only" if before else ""
            yield at(
                step, f"no gradients are cleared in the loop around this step{more}", _mend(region, step), safe=False
            )


def _cleared(region: Region, key: str) -> bool:
    keys = {key, "*"}
    return any(e.key in keys or not e.key for e in region.of("zero")) or bool(region.of("touch"))


def _models(region: Region, key: str) -> list[str]:
    return [e.key for e in region.of("forward")] + [
        n for e in region.trace.events if e.kind == "make" and e.key == key for n in e.names
    ]


def _once(step: Event) -> bool:
    """Whether the loop is left right behind the step, so that there is one step only."""
    source = step.function.source
    node = source.statement(step.node)
    body = getattr(source.parents[node], "body", [])
    later = body[body.index(node) + 1 :] if node in body else []
    return any(isinstance(one, ast.Break | ast.Return) for one in later)


def _mend(region: Region, step: Event) -> list[Edit]:
    """`optimizer.zero_grad()` before the first `backward()` of the step's function."""
    node, source = step.node, step.function.source
    first = next((e for e in region.of("backward") if e.function is step.function), None)
    if first is None or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return []
    owner = node.args[0] if step.how == "scaled" and node.args else node.func.value
    line = source.statement(first.node)
    place = (line.lineno, line.col_offset)
    return [Edit(place, place, f"{source.segment(owner)}.zero_grad()\n{' ' * line.col_offset}")]
