"""Gradients are set to zero in place of None.

## What

`zero_grad(set_to_none=False)`.

## Why

Each gradient is written with zeros and read again by the next backward; set to None, which is the default, the
backward writes it once.

## Bad

```python
optimizer.zero_grad(set_to_none=False)
```

## Good

```python
optimizer.zero_grad()
```

## Fix

Leave `set_to_none` out.

## How sure

85 %. Code that reads `p.grad` before the first backward needs the zeros.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchkiln.checks.lint.source import constant, keyword
from torchkiln.checks.lint.view import Found, View, replaced


def check(view: View) -> Iterator[Found]:
    """One finding for each call."""
    for call, _, function in view.methods("zero_grad"):
        given = keyword(call, "set_to_none")
        if given is not None and constant(given) is False:
            yield Found(
                call, function.source, "gradients are written with zeros", [replaced(given, "True")], safe=False
            )
