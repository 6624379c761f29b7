"""A tensor is made on the host and then moved.

## What

`torch.zeros(...).to(device)`, or the same in two lines.

## Why

The tensor is made twice and copied between; made on the device it costs one launch.

## Bad

```python
import torch

mask = torch.zeros(8, 8).to(device)
```

## Good

```python
import torch

mask = torch.zeros(8, 8, device=device)
```

## Fix

Pass `device=` to the function that makes it.

## How sure

93 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint import names
from torchkiln.checks.lint.rules.p301_move_in_forward import moves
from torchkiln.checks.lint.source import Function, argument, constant, dotted, keyword, spread
from torchkiln.checks.lint.view import Edit, Found, View, another_argument


def check(view: View) -> Iterator[Found]:
    """One finding for each tensor."""
    for call, owner, function in view.methods("to", "cuda"):
        if not _moved(call, function):
            continue
        made = owner if isinstance(owner, ast.Call) else _before(view, owner, function)
        if isinstance(made, ast.Call) and _factory(made, function):
            yield Found(call, function.source, "this is made on the host and moved", _mend(function, call, owner, made))


def _moved(call: ast.Call, function: Function) -> bool:
    given = argument(call, 0, "device")
    written = dotted(given) if given is not None else ""
    return moves(call, function) or written.endswith(".device")


def _factory(made: ast.Call, function: Function) -> bool:
    return function.source.called(made) in names.FACTORIES and keyword(made, "device") is None and not spread(made)


def _before(view: View, owner: ast.expr, function: Function) -> ast.expr | None:
    """What made a name in the statement just before its move."""
    if not isinstance(owner, ast.Name):
        return None
    found = view.flow.reaching(owner.id, owner, function)
    one = found[0] if len(found) == 1 else None
    near = one is not None and one.how == "=" and 0 < owner.lineno - getattr(one.node, "end_lineno", 0) <= 2
    return one.value if near and one is not None else None


def _mend(function: Function, call: ast.Call, owner: ast.expr, made: ast.Call) -> list[Edit]:
    """`device=` where the move is the only thing that the call does."""
    if owner is not made or len(call.args) + len(call.keywords) > 1 or made.lineno != call.end_lineno:
        return []
    if isinstance(call.func, ast.Attribute) and call.func.attr == "cuda":
        if call.args or call.keywords:
            return []
        text = '"cuda"'
    else:
        given = argument(call, 0, "device")
        text = repr(constant(given)).replace("'", '"') if isinstance(given, ast.Constant) else dotted(given or call)
    if not text:
        return []
    end = (made.end_lineno or 0, made.end_col_offset or 0)
    return [another_argument(made, f"device={text}"), Edit(end, (call.end_lineno or 0, call.end_col_offset or 0), "")]
