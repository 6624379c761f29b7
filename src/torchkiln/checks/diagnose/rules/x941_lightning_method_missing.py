"""A LightningModule lacks a method that the trainer asks for.

## What

`No training_step() method defined`, no optimizer, or no loader.

## Why

The method is missing or spelt in another way, or the data was not handed to `fit`.

## Bad

```text
lightning.fabric.utilities.exceptions.MisconfigurationException: No `training_step()` method defined. Lightning
`Trainer` expects as minimum a `training_step()`, `train_dataloader()` and `configure_optimizers()` to be
defined.
```

## Good

```python
trainer.fit(model, train_loader, val_loader)
```

## Fix

Define the method that the message names (`training_step`, `configure_optimizers`), and hand loaders to
`trainer.fit(model, train_loader, val_loader)`.

## How sure

96 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"No `\w+\(\)` method defined|expects as minimum a `?training_step|"
        r"must be implemented to be used with the Lightning Trainer|"
        r"No `\w+_dataloader\(\)`|`model` must be a `LightningModule`|invalid data source was passed",
        kind="Misconfiguration|NotImplementedError|TypeError|Error",
    ),
)
