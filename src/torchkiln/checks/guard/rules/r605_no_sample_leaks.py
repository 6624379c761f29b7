"""A sample leaks into others of its batch.

## What

What the net gives for one sample, in evaluation mode, depends on the others.

## Why

Predictions change with how samples are put together, and a score measured in batches does not hold for one sample.

## Bad

```python
h = h.view(h.shape[1], h.shape[0], -1)
```

## Good

```python
h = h.transpose(0, 1)
```

## Fix

Look for `view` in the place of `transpose`, and for a softmax or a mean over dimension 0.

## How sure

90 %, a WARN: some nets are meant to.
"""

from __future__ import annotations

import torch

from torchkiln.checks.guard.preflight import Trial, Verdict


def preflight(trial: Trial) -> Verdict | None:
    """Compare the outputs of half the batch alone with those among the others."""
    output = trial.output
    pieces = trial.subject.parts(trial.subject.batch, 2)
    if len(pieces) != 2 or not isinstance(output, torch.Tensor) or not output.is_floating_point():
        return None
    net = trial.copy(training=False)
    with torch.no_grad():
        parts = [trial.subject.forward(net, part) for part, _ in pieces]
    if any(part.shape[1:] != output.shape[1:] for part in parts) or sum(len(p) for p in parts) != len(output):
        return None
    error = float((torch.cat(parts) - output).abs().max()) / (float(output.abs().max()) or 1.0)
    said = f"outputs of half a batch alone differ from those in the whole by {error:.1g} of the largest"
    return ("WARN" if error > 1e-2 else "PASS"), said
