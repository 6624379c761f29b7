"""TorchScript is used for new work.

## What

`torch.jit.script` or `torch.jit.trace` is called, or used as a decorator.

## Why

TorchScript is no longer developed: it does not know newer Python, its errors are hard to read, and torch 2.9 and
later warn of it.

## Bad

```python
import torch

scripted = torch.jit.script(model)
```

## Good

```python
import torch

exported = torch.export.export(model, (x,))
```

## Fix

Use `torch.export` to ship a model, `torch.compile` to speed it up.

## How sure

95 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.view import Found, View

OLD = {"torch.jit.script", "torch.jit.trace", "torch.jit.trace_module", "torch.jit.script_method"}


def check(view: View) -> Iterator[Found]:
    """One finding for each call or decorator."""
    for source in view.sources:
        if "jit" not in source.text:
            continue
        for call, _ in source.calls:
            if source.called(call) in OLD:
                yield Found(call, source, f"{source.called(call)} is no longer developed")
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                for one in node.decorator_list:
                    if source.resolve(one) in OLD:
                        yield Found(one, source, f"{source.resolve(one)} is no longer developed")
                if isinstance(node, ast.ClassDef) and any(
                    source.resolve(b) == "torch.jit.ScriptModule" for b in node.bases
                ):
                    yield Found(node, source, "ScriptModule is no longer developed")
