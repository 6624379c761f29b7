"""`cudnn.benchmark` stands beside `deterministic`.

## What

A program sets both `torch.backends.cudnn.benchmark = True` and `deterministic = True`.

## Why

The benchmark picks algorithms by timing them, which differs from run to run: what was meant to repeat does not.

## Bad

```python
import torch

torch.backends.cudnn.deterministic = True
torch.backends.cudnn.benchmark = True
```

## Good

```python
import torch

torch.backends.cudnn.deterministic = True
torch.backends.cudnn.benchmark = False
```

## Fix

Set `benchmark = False` where runs must repeat.

## How sure

95 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.source import Function, constant
from torchkiln.checks.lint.view import Found, View, replaced

WANTED = ("torch.use_deterministic_algorithms", "lightning.pytorch.seed_everything")


def check(view: View) -> Iterator[Found]:
    """One finding for each switch of the benchmark."""
    for source in view.sources:
        if "benchmark" not in source.text:
            continue
        near = view.project.related(source)
        if not any(_set(f, "deterministic") for s in near for f in s.functions) and not any(
            s.called(c) in WANTED and (not c.args or constant(c.args[0]) is True) and "use_det" in s.called(c)
            for s in near
            for c, _ in s.calls
        ):
            continue
        for function in source.functions:
            for node in _set(function, "benchmark"):
                yield Found(
                    node,
                    source,
                    "benchmark picks other algorithms from run to run",
                    [replaced(node.value, "False")],
                    safe=False,
                )


def _set(function: Function, name: str) -> list[ast.Assign]:
    """Where a switch of cudnn is set to True."""
    return [
        a.node
        for key, assigns in function.assigns.items()
        if key.endswith(f"cudnn.{name}")
        for a in assigns
        if isinstance(a.node, ast.Assign) and constant(a.value) is True
    ]
