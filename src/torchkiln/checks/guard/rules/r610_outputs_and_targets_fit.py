"""Outputs, targets and predictions do not fit one another.

## What

Shapes, dtypes or ranges of what the net gives and of what it is compared with are not those that loss and metrics need.

## Why

A loss over broadcast shapes, or a class that no output stands for, trains something else without an error.

## Bad

```python
loss = F.mse_loss(net(x), y)  # [B, 1] and [B]
```

## Good

```python
loss = F.mse_loss(net(x).squeeze(1), y)
```

## Fix

Give outputs [batch, classes] with targets from 0 to classes - 1, or outputs and targets of one shape.

## How sure

97 %.
"""

from __future__ import annotations

import torch

from torchkiln.checks.guard.preflight import Trial, Verdict


def preflight(trial: Trial) -> Verdict | None:
    """Look at shapes, values and sums."""
    output, target, subject = trial.output, trial.target, trial.subject
    if not isinstance(output, torch.Tensor):
        return None
    if not bool(torch.isfinite(output).all()):
        return "FAIL", "outputs of the first batch are not finite"
    if (
        target is not None
        and subject.kind == "classes"
        and output.ndim == 2
        and target.ndim == 1
        and not target.is_floating_point()
    ):
        named = target[target != IGNORED]
        if len(named) and (int(named.min()) < 0 or int(named.max()) >= max(output.shape[1], 2)):
            return "FAIL", f"targets go from {int(named.min())} to {int(named.max())}, for {output.shape[1]} outputs"
    if (
        target is not None
        and subject.kind == "number"
        and output.shape != target.shape
        and output.numel() != target.numel()
        and (subject.predict is None or subject.predict(output).shape != target.shape)  # members of an ensemble
    ):
        return "FAIL", f"outputs {list(output.shape)} and targets {list(target.shape)} are broadcast"
    if subject.predict is not None:
        predicted = subject.predict(output).float()
        if subject.kind == "classes" and predicted.ndim == 2:
            sums = predicted.sum(1)
            if not torch.allclose(sums, torch.ones_like(sums), atol=1e-3) or bool((predicted < 0).any()):
                return "FAIL", "predicted probabilities do not sum to 1"
        if not bool(torch.isfinite(predicted).all()):
            return "FAIL", "predictions of the first batch are not finite"
    return "PASS", f"outputs {list(output.shape)} are finite and fit their targets"


IGNORED = -100
"""The class that PyTorch's losses pass by."""
