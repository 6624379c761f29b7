"""`empty_cache` in a loop.

## What

`torch.cuda.empty_cache()` is called in a loop, itself or in a function that the loop calls.

## Why

It waits for the device and gives memory back that the next batch asks for anew; it frees nothing that is still in
use.

## Bad

```python
import torch

for x, y in loader:
    step(x, y)
    torch.cuda.empty_cache()
```

## Good

```python
for x, y in loader:
    step(x, y)
```

## Fix

Remove it; if memory runs out, drop references or make the batch smaller.

## How sure

93 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.source import Function, Loops
from torchkiln.checks.lint.view import Edit, Found, View


def check(view: View) -> Iterator[Found]:
    """One finding for each call."""
    for call, function in view.calls("torch.cuda.empty_cache"):
        if looped(view, call, function):
            yield Found(
                call, function.source, "the cache is emptied in every turn of a loop", _mend(function, call), safe=False
            )


def looped(view: View, node: ast.AST, function: Function, depth: int = 0) -> bool:
    """Whether a node lies in a loop over batches, or its function is called in one."""
    for one in function.source.above(node):
        if one is function.node:
            break
        if isinstance(one, ast.If | ast.ExceptHandler):
            return False
        if isinstance(one, Loops):
            return True
    return depth < 2 and any(looped(view, c, f, depth + 1) for c, f in view.project.callers.get(function, ()))


def _mend(function: Function, call: ast.Call) -> list[Edit]:
    """Take the statement out, where it is not alone in its block."""
    statement = function.source.statement(call)
    parent = function.source.parents.get(statement)
    body = getattr(parent, "body", [])
    lines = function.source.lines
    if not isinstance(statement, ast.Expr) or statement not in body or len(body) < 2 or statement.value is not call:
        return []
    if lines[statement.lineno - 1].strip() != "torch.cuda.empty_cache()":
        return []
    return [Edit((statement.lineno, 0), (statement.lineno + 1, 0), "")]
