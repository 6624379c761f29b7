"""`torch.ao.quantization` is deprecated.

## What

`torch.ao.quantization` or `torch.quantization` is used.

## Why

Both are deprecated and will be removed; the work goes on in the package torchao.

## Bad

```python
import torch

small = torch.ao.quantization.quantize_dynamic(model)
```

## Good

```python
from torchao.quantization import Int8WeightOnlyConfig, quantize_

quantize_(model, Int8WeightOnlyConfig())
```

## Fix

Use torchao's `quantize_`, or its PT2E flow for static quantization.

## How sure

97 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.view import Found, View

OLD = ("torch.ao.quantization", "torch.quantization")


def check(view: View) -> Iterator[Found]:
    """One finding for each call, or for an import that no call follows."""
    for source in view.sources:
        if "quantiz" not in source.text:
            continue
        called = [(c, n) for c, _ in source.calls if (n := source.called(c)).startswith(tuple(f"{o}." for o in OLD))]
        for call, name in called:
            yield Found(call, source, f"{name} is deprecated")
        for node in ast.walk(source.tree) if not called else ():
            module = node.module or "" if isinstance(node, ast.ImportFrom) and not node.level else ""
            imported = [a.name for a in node.names] if isinstance(node, ast.Import) else [module]
            if any(f"{m}.".startswith(f"{o}.") for m in imported for o in OLD):
                yield Found(node, source, f"{imported[0]} is deprecated")
