"""`torch.load` without `weights_only`.

## What

`torch.load` is called without `weights_only`, or with `weights_only=False`.

## Why

A pickle runs whatever code it holds. Since torch 2.6 the default is safe; on older ones, and where it is switched
off, a file from elsewhere can do anything.

## Bad

```python
import torch

state = torch.load("weights.pt")
```

## Good

```python
import torch

state = torch.load("weights.pt", weights_only=True)
```

## Fix

Pass `weights_only=True`, and keep weights and plain values in the file.

## How sure

95 %.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchkiln.checks.lint.source import constant, keyword, spread
from torchkiln.checks.lint.view import Found, View, another_argument, replaced


def check(view: View) -> Iterator[Found]:
    """One finding for each call."""
    for call, function in view.calls("torch.load"):
        given = keyword(call, "weights_only")
        if given is None and not spread(call):
            yield Found(
                call,
                function.source,
                "torch.load without weights_only",
                [another_argument(call, "weights_only=True")],
                safe=False,
            )
        elif given is not None and constant(given) is False:
            yield Found(
                call, function.source, "torch.load runs what the file holds", [replaced(given, "True")], safe=False
            )
