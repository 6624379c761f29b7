"""Two evaluations do not agree.

## What

The same batch gives two results in evaluation mode, or another after the weights were saved and loaded.

## Why

Scores cannot be repeated; or part of what the net needs is not in its `state_dict`, and is lost with the process.

## Bad

```python
x = F.dropout(x, 0.5)
```

## Good

```python
x = F.dropout(x, 0.5, training=self.training)
```

## Fix

Give `training=self.training`; keep tensors that the net needs with `register_buffer`.

## How sure

96 %; a net that draws random numbers in evaluation mode is a WARN.
"""

from __future__ import annotations

import torch

from torchkiln.checks.guard.preflight import Trial, Verdict


def preflight(trial: Trial) -> Verdict | None:
    """Evaluate twice, and once with the weights in another copy."""
    first = trial.output
    if not isinstance(first, torch.Tensor):
        return None
    with torch.no_grad():
        again = trial.subject.forward(trial.copy(training=False), trial.subject.batch)
        if not torch.allclose(first, again, rtol=1e-4, atol=1e-6, equal_nan=True):
            return "WARN", "two evaluations of one batch differ: the net draws random numbers in evaluation mode"
        other = trial.copy(training=False)
        state = {name: value.clone() for name, value in other.state_dict().items()}
        for name, tensor in (*other.named_parameters(), *other.named_buffers()):
            if name in state:  # buffers that are not kept are made anew with the net
                tensor.zero_()
        other.load_state_dict(state)
        loaded = trial.subject.forward(other, trial.subject.batch)
    if not torch.allclose(first, loaded, rtol=1e-4, atol=1e-6, equal_nan=True):
        return (
            "FAIL",
            "the net gives something else after its state_dict was saved and loaded: a part of it is not in there",
        )
    return "PASS", "two evaluations agree, and one after saving and loading"
