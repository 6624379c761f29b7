"""The device is written out.

## What

`.cuda()`, `.to("cuda")` or `device="cuda"` in place of a variable that says where to compute.

## Why

The program runs on no other machine: not on a CPU, not on Apple's, not on the second device.

## Bad

```python
model = Net().cuda()
```

## Good

```python
import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = Net().to(device)
```

## Fix

Choose a `device` once, and write `.to(device)`.

## How sure

90 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.source import argument, constant, keyword
from torchkiln.checks.lint.view import Edit, Found, View


def check(view: View) -> Iterator[Found]:
    """One finding for each place."""
    for call, owner, function in view.methods("cuda", "to"):
        last = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        literal = constant(argument(call, 0, "device"))
        if function.source.called(call).startswith("torch."):
            continue
        if last == "cuda" or (isinstance(literal, str) and literal.startswith("cuda")):
            if _asked(function.source.above(call)):
                continue
            known = "device" in function.assigns or "device" in function.params
            end = (owner.end_lineno or 0, owner.end_col_offset or 0)
            edits = [Edit(end, (call.end_lineno or 0, call.end_col_offset or 0), ".to(device)")]
            alone = len(call.args) + len(call.keywords) <= 1
            yield Found(call, function.source, "the device is written out", edits if known and alone else [])
    for source in view.sources:
        for call, _ in source.calls:
            given = constant(keyword(call, "device"))
            if (
                isinstance(given, str)
                and given.startswith("cuda")
                and isinstance(call.func, ast.Attribute | ast.Name) is not True
            ) and getattr(call.func, "attr", "") != "to":
                yield Found(call, source, "the device is written out")


def _asked(above: object) -> bool:
    """Whether it stands under a test of whether there is CUDA."""
    return any(isinstance(one, ast.If | ast.IfExp) and "cuda" in ast.unparse(one.test) for one in above)  # type: ignore[attr-defined]
