"""`training_step` returns no loss.

## What

Automatic optimization gets a dict without `loss`, or something that is no tensor.

## Why

Lightning calls `backward` on what the step returns.

## Bad

```text
lightning.fabric.utilities.exceptions.MisconfigurationException: In automatic_optimization, when `training_step`
returns a dict, the 'loss' key needs to be present
```

## Good

```python
def training_step(self, batch, i):
    x, y = batch
    return F.cross_entropy(self(x), y)
```

## Fix

Return the loss tensor, or a dict with the key `loss`.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"when `training_step` returns a dict|`training_step` must return|training_step.* returned `?None"),
)
