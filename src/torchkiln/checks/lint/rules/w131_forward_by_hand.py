"""`forward()` is called by hand.

## What

`model.forward(x)` in place of `model(x)`.

## Why

Hooks are left out: those of DDP, FSDP, compile, profilers, pruning and weight normalisation among them.

## Bad

```python
output = model.forward(x)
```

## Good

```python
output = model(x)
```

## Fix

Call the module itself.

## How sure

92 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.source import dotted
from torchkiln.checks.lint.view import Edit, Found, View


def check(view: View) -> Iterator[Found]:
    """One finding for each call."""
    for call, owner, function in view.methods("forward"):
        written = dotted(owner)
        if not written or (written == "self" and function.name in ("forward", "__call__")):
            continue
        if isinstance(owner, ast.Name) and (owner.id in function.source.classes or owner.id[:1].isupper()):
            continue  # Parent.forward(self, x)
        is_self = written == "self" and view.project.is_module(view.project.home(function))
        if is_self or view.values.kind(owner, view.values.frame(function)).name in ("model", "loss"):
            end = (owner.end_lineno or 0, owner.end_col_offset or 0)
            func = call.func
            edit = Edit(end, (func.end_lineno or 0, func.end_col_offset or 0), "")
            yield Found(call, function.source, "forward() by hand leaves out hooks", [edit])
