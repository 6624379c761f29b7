"""Compiled where that was measured to pay.

## What

`torch.compile` was tried beside the plain net on this model and machine, or cannot pay in a run of this length.

## Why

A compiled net that is slower, or was never tried, is speed given away.

## Bad

```yaml
train: {compile: false}
```

## Good

```yaml
train: {compile: auto}
```

## Fix

Leave `train.compile: auto`; `torchkiln plan` measures it.

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.ready.material import Answer, Material
from torchkiln.checks.ready.measured import measured


def check(run: Material) -> Answer:
    """By the plan's decision."""
    return measured(run, "train.compile")
