"""Inputs have a scale that nets are not made for.

## What

Numbers that go into the net are far from 0 or spread far more than 1, or all samples of the batch are the same.

## Why

Training is slow or fails, since initialisation and rates are made for inputs of about -2 to 2.

## Bad

```python
x = pixels.float()
```

## Good

```python
x = (pixels.float() / 255 - mean) / std
```

## Fix

Standardise the inputs by the training split's mean and spread.

## How sure

85 %, a WARN.
"""

from __future__ import annotations

import math

import torch

from torchkiln.checks.guard.preflight import Trial, Verdict


def preflight(trial: Trial) -> Verdict | None:
    """Look at the floating inputs of the batch."""
    batch = trial.subject.batch
    if not isinstance(batch, dict):
        return None
    inputs = {k: v for k, v in batch.items() if k not in NOT_INPUTS and isinstance(v, torch.Tensor)}
    for name, x in inputs.items():
        if not x.is_floating_point() or x.numel() < 8:
            continue
        mean, spread = float(x.float().mean()), float(x.float().std())
        if not math.isfinite(mean):
            return "WARN", f"{name} has values that are not finite"
        if abs(mean) > 10 or spread > 30:
            return "WARN", f"{name} has a mean of {mean:.3g} and spreads by {spread:.3g}"
    return "PASS", "inputs have a mean near 0 and a spread near 1" if inputs else "no input has a scale"


NOT_INPUTS = ("index", "target", "weight")
