"""A metric that is watched is never logged.

## What

`EarlyStopping`, `ModelCheckpoint` or a scheduler monitors a name that is not among the logged metrics.

## Why

The name differs, or the metric is logged at another time (validation that does not run).

## Bad

```text
RuntimeError: Early stopping conditioned on metric `val_loss` which is not available. Pass in or modify your
`EarlyStopping` callback to use any of the following: `train_loss`
```

## Good

```python
self.log("val_loss", loss)
```

## Fix

Log it under that very name (`self.log("val_loss", loss)` in `validation_step`), or monitor one of the names in the
message.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"could not find the monitored key|conditioned on metric .* which is not available"),
)
