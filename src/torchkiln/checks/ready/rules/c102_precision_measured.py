"""Mixed precision where that was measured to pay.

## What

Precisions were tried on this model and machine, and the fastest kept that leaves the loss within its tolerance.

## Why

Half the bytes is often twice the speed, and sometimes a loss that does not fall.

## Bad

```yaml
train: {precision: "32"}
```

## Good

```yaml
train: {precision: auto}
```

## Fix

Leave `train.precision: auto`; `torchkiln plan` measures it.

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.ready.material import Answer, Material
from torchkiln.checks.ready.measured import measured


def check(run: Material) -> Answer:
    """By the plan's decision."""
    return measured(run, "train.precision")
