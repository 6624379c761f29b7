"""Two runs from one seed do not agree.

## What

The first steps, taken twice from the same seed, give different losses.

## Why

A result cannot be repeated, and a change cannot be told from chance.

## Bad

```python
noise = torch.from_numpy(np.random.rand(*x.shape))
```

## Good

```python
noise = torch.rand_like(x)
```

## Fix

Draw from torch's generators alone; on CUDA set `train.deterministic`.

## How sure

95 %, a WARN.
"""

from __future__ import annotations

import torch

from torchkiln.checks.guard.preflight import Trial, Verdict


def preflight(trial: Trial) -> Verdict | None:
    """Take two steps twice."""
    losses = []
    for _ in range(2):
        with trial.seeded():
            net = trial.copy(training=True)
            optimizer = trial.subject.optimizer(net)
            for _ in range(2):
                optimizer.zero_grad()
                losses.append(trial.gradients(net, trial.subject.batch))
                optimizer.step()
    same = torch.equal(losses[1], losses[3]) and torch.equal(losses[0], losses[2])
    if same:
        return "PASS", "two steps from one seed, taken twice, agree to the bit"
    return "WARN", f"the losses of two steps from one seed are {float(losses[1])!r} and {float(losses[3])!r}"
