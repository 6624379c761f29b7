"""Seed and level of determinism are stated.

## What

The seed is set, the level of determinism is written down, and nothing ended the promise of equal bits.

## Why

A result that cannot be had again cannot be compared.

## Bad

```text
not bitwise: the device was A and is B
```

## Good

```text
seed 0, exact: same
```

## Fix

Set `seed`, and `train.deterministic: true` where equal bits on a GPU are wanted.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.ready.material import Answer, Material, failed, passed


def check(run: Material) -> Answer:
    """By the recipe and environment.json."""
    train, broken = run.recipe.train, run.environment.get("not_bitwise") or []
    said = f"seed {run.recipe.seed}, train.exact {train.exact}, train.deterministic {str(train.deterministic).lower()}"
    if broken:
        return failed(f"{said}; not bitwise: {broken[0]}", f"torchkiln fit {run.path}/recipe.yaml")
    return passed(said)
