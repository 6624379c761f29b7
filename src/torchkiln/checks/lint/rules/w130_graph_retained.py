"""`retain_graph=True` in a plain loop.

## What

The only `backward()` of a training loop is called with `retain_graph=True`.

## Why

It is mostly there to silence "backward through the graph a second time". What carries the graph from one step to
the next, such as a hidden state that is not detached, stays: time and memory grow with every step.

## Bad

```python
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward(retain_graph=True)
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

Remove it, and detach what is carried over from the step before.

## How sure

85 %. Silent where the loop goes back more than once.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchkiln.checks.lint.view import Edit, Found, View, at


def check(view: View) -> Iterator[Found]:
    """One finding for each loop."""
    for region in view.regions:
        backs = region.of("backward")
        if region.loop is not None and len(backs) == 1 and backs[0].names == ("retained",):
            edits: list[Edit] = []
            yield at(backs[0], "the graph is kept though nothing else in the loop goes back through it", edits)
