"""An operation has no deterministic form.

## What

`use_deterministic_algorithms(True)` meets an operation that adds up in any order, or a cuBLAS without its setting.

## Why

Some kernels use atomic additions.

## Bad

```python
import torch

torch.use_deterministic_algorithms(True)
try:
    torch.ones(3).put_(torch.tensor([0]), torch.ones(1))
finally:
    torch.use_deterministic_algorithms(False)
```

## Good

```python
import torch

torch.use_deterministic_algorithms(True, warn_only=True)
try:
    torch.ones(3).sum()
finally:
    torch.use_deterministic_algorithms(False)
```

## Fix

Set CUBLAS_WORKSPACE_CONFIG=:4096:8 where the message asks for it; else use another operation, or `warn_only=True`.

## How sure

98 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"does not have a deterministic implementation|[Dd]eterministic behavior was enabled with either"),
)
