"""`torch.cuda.amp` is deprecated.

## What

`torch.cuda.amp` or `torch.cpu.amp` is used.

## Why

It is deprecated since torch 2.4 and warns at each use; `torch.amp` takes the device as an argument.

## Bad

```python
import torch

scaler = torch.cuda.amp.GradScaler()
```

## Good

```python
import torch

scaler = torch.amp.GradScaler("cuda")
```

## Fix

Use `torch.amp.autocast("cuda")` and `torch.amp.GradScaler("cuda")`.

## How sure

99 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.source import Source, dotted
from torchkiln.checks.lint.view import Edit, Found, View, another_argument, replaced

OLD = ("torch.cuda.amp.", "torch.cpu.amp.")
RENAMED = {"autocast": "autocast", "GradScaler": "GradScaler"}


def check(view: View) -> Iterator[Found]:
    """One finding for each use, or for an import that nothing here uses."""
    for source in view.sources:
        if "amp" not in source.text:
            continue
        used = False
        for call, _ in source.calls:
            full = source.called(call)
            if full.startswith(OLD):
                used = True
                yield Found(call, source, f"{full} is deprecated", _mend(source, call, full))
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ImportFrom) and not used:
                modules = [f"{node.module}.", *(f"{node.module}.{a.name}." for a in node.names)]
                if any(m.startswith(OLD) for m in modules):
                    yield Found(node, source, f"{node.module} is deprecated")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for one in node.decorator_list:
                    full = source.resolve(one)
                    if full.startswith(OLD):
                        yield Found(one, source, f"{full} is deprecated")


def _mend(source: Source, call: ast.Call, full: str) -> list[Edit]:
    last = full.rpartition(".")[2]
    written = dotted(call.func)
    device = "cuda" if full.startswith("torch.cuda") else "cpu"
    if (
        last not in RENAMED
        or not written.startswith("torch.")
        or any(not isinstance(a, ast.Constant) for a in call.args)
    ):
        return []
    name = replaced(call.func, f"torch.amp.{last}")
    if call.args or call.keywords:
        first = call.args[0] if call.args else None
        if first is None:
            start = min((k.lineno, k.col_offset) for k in call.keywords)
            return [name, Edit(start, start, f'"{device}", ')]
        if last == "GradScaler":
            return []
        return [name, Edit((first.lineno, first.col_offset), (first.lineno, first.col_offset), f'"{device}", enabled=')]
    return [name, another_argument(call, f'"{device}"')]
