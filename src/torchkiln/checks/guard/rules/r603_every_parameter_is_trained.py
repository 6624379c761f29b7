"""A parameter is not trained.

## What

Every parameter that is to be trained gets a gradient from a batch, and is in exactly one group of the optimizer.

## Why

One that is in no group, or gets no gradient, stays as it was drawn; one in two groups is changed twice.

## Bad

```python
self.unused = nn.Linear(8, 8)
```

## Good

```python
self.used = nn.Linear(8, 8)
```

## Fix

Take unused layers out, set `requires_grad` to False for what is frozen, and give the optimizer all others once.

## How sure

97 %; a parameter without a gradient is a WARN, since another batch may give it one.
"""

from __future__ import annotations

from collections import Counter

from torchkiln.checks.guard.preflight import Trial, Verdict


def preflight(trial: Trial) -> Verdict | None:
    """Look at the gradients of one batch and at the groups of a fresh optimizer."""
    net = trial.copy(training=True)
    optimizer = trial.subject.optimizer(net)
    times = Counter(id(p) for group in optimizer.param_groups for p in group["params"])
    wanted = {name: p for name, p in net.named_parameters() if p.requires_grad}
    if left := [name for name, p in wanted.items() if times[id(p)] != 1]:
        return "FAIL", f"{_some(left)}: in {times[id(wanted[left[0]])]} groups of the optimizer, not in one"
    trial.gradients(net, trial.subject.batch)
    if without := [name for name, p in wanted.items() if p.grad is None]:
        return "WARN", f"{_some(without)} get no gradient from the first batch"
    return "PASS", f"{len(wanted)} parameters get gradients, each in one group of the optimizer"


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
