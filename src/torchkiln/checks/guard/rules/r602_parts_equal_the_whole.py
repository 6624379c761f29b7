"""Micro-batches do not add up to the batch.

## What

The gradient of a batch computed in parts, each weighed by its share, should be that of the whole batch.

## Why

With accumulation, or a batch that is halved for lack of memory, something else would be trained.

## Bad

```python
loss = nn.MSELoss(reduction="sum")
```

## Good

```python
loss = nn.MSELoss()
```

## Fix

Give a loss that is a mean over samples; losses that compare samples with one another cannot be computed in parts.

## How sure

90 %, a WARN.
"""

from __future__ import annotations

import torch

from torchkiln.checks.guard.preflight import Trial, Verdict


def preflight(trial: Trial) -> Verdict | None:
    """Compare both gradients in evaluation mode, where nothing else depends on the batch."""
    subject = trial.subject
    gathered = []
    for count in (1, 2):
        net = trial.copy(training=False)
        for part, share in subject.parts(subject.batch, count):
            trial.gradients(net, part, share)
        gathered.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
    whole, parts = gathered
    scale = float(whole.norm()) or 1.0
    error = float((whole - parts).norm()) / scale
    said = f"the gradient of two parts differs from that of the batch by {error:.1g} of its norm"
    return ("WARN" if error > 1e-2 else "PASS"), said
