"""Training and evaluation differ in more than dropout and normalisation.

## What

With dropout and normalisation put in evaluation mode one by one, the net gives something else than in evaluation mode.

## Why

What is trained is not what is evaluated and served.

## Bad

```python
if self.training:
    x = x * 2
```

## Good

```python
x = self.dropout(x)
```

## Fix

Look where `self.training` is read.

## How sure

90 %, a WARN.
"""

from __future__ import annotations

import torch
from torch import nn

from torchkiln.checks.guard.preflight import Trial, Verdict


def preflight(trial: Trial) -> Verdict | None:
    """Compare evaluation mode with training mode in which all layers that should differ are in evaluation mode."""
    if not isinstance(trial.output, torch.Tensor):
        return None
    net = trial.copy(training=True)
    for layer in net.modules():
        if isinstance(layer, DIFFERING) or hasattr(layer, "dropout") or "Drop" in type(layer).__name__:
            layer.training = False
    with torch.no_grad(), trial.seeded():
        found = trial.subject.forward(net, trial.subject.batch)
    error = float((found - trial.output).abs().max()) / (float(trial.output.abs().max()) or 1.0)
    said = (
        f"apart from dropout and normalisation, training mode gives outputs that differ by {error:.1g} of the largest"
    )
    return ("WARN" if error > 1e-3 else "PASS"), said


DIFFERING = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, nn.RNNBase, nn.MultiheadAttention)
