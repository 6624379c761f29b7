"""`BCELoss` cannot run in mixed precision.

## What

`BCELoss` is called inside `autocast`.

## Why

Its logarithm is not safe in half precision.

## Bad

```text
RuntimeError: torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.
```

## Good

```python
criterion = nn.BCEWithLogitsLoss()
```

## Fix

Take the sigmoid out of the model and use `nn.BCEWithLogitsLoss()`.

## How sure

99 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"are unsafe to autocast"),
)
