"""The loss at the start is not what theory says.

## What

Before training, the cross-entropy of K classes should be near ln K, and a squared error near the variance of the
targets.

## Why

A loss far above says that outputs or inputs have a wrong scale; one far below that the target is among the inputs.

## Bad

```python
net.head.weight.data.mul_(100)
```

## Good

```python
nn.init.normal_(net.head.weight, std=0.01)
```

## Fix

Initialise the last layer small, scale inputs to about -2 to 2, and look for the target among the inputs.

## How sure

75 %, a WARN: pretrained nets begin lower.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from torchkiln.checks.guard.preflight import Trial, Verdict


def preflight(trial: Trial) -> Verdict | None:
    """Compare the loss of an untrained net with the one that a constant would have."""
    output, target = trial.output, trial.target
    if not isinstance(output, torch.Tensor) or target is None or not output.is_floating_point():
        return None
    if trial.subject.kind == "classes" and output.ndim == 2 and output.shape[1] > 1 and target.ndim == 1:
        expected = math.log(output.shape[1])
        found = float(F.cross_entropy(output.float(), target.long()))
        said = f"the cross-entropy at the start is {found:.3g}; ln {output.shape[1]} is {expected:.3g}"
        return ("WARN" if found > 3 * expected + 1 else "PASS"), said
    if trial.subject.kind == "number" and output.numel() == target.numel() and target.is_floating_point():
        spread = float(target.float().pow(2).mean())
        found = float(F.mse_loss(output.float().flatten(), target.float().flatten()))
        said = f"the squared error at the start is {found:.3g}; that of always giving 0 is {spread:.3g}"
        return ("WARN" if spread > 0 and found > 30 * spread else "PASS"), said
    return None
