"""One batch cannot be fitted.

## What

Some dozens of steps on one batch alone hardly lower its loss.

## Why

What cannot learn a batch by heart will not learn the data: gradients do not arrive, or targets and outputs do not fit.

## Bad

```python
x = x.detach()
```

## Good

```python
x = self.body(x)
```

## Fix

Look at the first batch: its targets, the scale of the outputs, and whether every layer gets a gradient.

## How sure

85 %, a WARN.
"""

from __future__ import annotations

import time

import torch

from torchkiln.checks.guard.preflight import Trial, Verdict


def preflight(trial: Trial) -> Verdict | None:
    """Train a copy on the batch, dropout and normalisation off, until the loss has fallen or time is up."""
    net = trial.copy(training=False)
    parameters = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=RATE)
    until = min(trial.until, time.monotonic() + MOST_SECONDS)
    losses: list[float] = []
    while len(losses) < MOST_STEPS and time.monotonic() < until:
        optimizer.zero_grad()
        losses.append(float(trial.gradients(net, trial.subject.batch)))
        optimizer.step()
        if losses[-1] < ENOUGH * losses[0]:
            return "PASS", f"the loss of one batch fell from {losses[0]:.3g} to {losses[-1]:.3g} in {len(losses)} steps"
    if len(losses) < MOST_STEPS:
        return None
    said = f"the loss of one batch went from {losses[0]:.3g} to {min(losses):.3g} in {len(losses)} steps on it alone"
    return ("WARN" if min(losses) > HARDLY * losses[0] else "PASS"), said


RATE, MOST_STEPS, MOST_SECONDS = 3e-3, 40, 2.0
ENOUGH, HARDLY = 0.7, 0.97
"""Shares of the first loss: at which it is well, and above which it has hardly moved."""
