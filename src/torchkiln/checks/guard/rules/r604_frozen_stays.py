"""What is frozen does not stay.

## What

A step changes a parameter with `requires_grad=False`, or a training forward changes the buffers of a frozen part.

## Why

The pretrained part drifts away from its weights, or its batch statistics from those that its weights were made for.

## Bad

```python
for p in net.body.parameters():
    p.requires_grad = False
```

## Good

```python
for p in net.body.parameters():
    p.requires_grad = False
net.body.eval()
```

## Fix

Keep frozen parts in evaluation mode while the rest trains.

## How sure

95 %, a WARN for buffers.
"""

from __future__ import annotations

import torch
from torch import nn

from torchkiln.checks.guard.preflight import Trial, Verdict


def preflight(trial: Trial) -> Verdict | None:
    """Take one step on a copy."""
    net = trial.copy(training=True)
    for module, original in zip(net.modules(), trial.subject.net.modules(), strict=True):
        module.training = original.training or not any(not p.requires_grad for p in original.parameters())
    frozen = {name: p.detach().clone() for name, p in net.named_parameters() if not p.requires_grad}
    if not frozen:
        return None
    parts = [name for name, m in net.named_modules() if _is_frozen(m)]
    buffers = {n: b.detach().clone() for n, b in net.named_buffers() if n.rpartition(".")[0] in parts}
    optimizer = trial.subject.optimizer(net)
    trial.gradients(net, trial.subject.batch)
    optimizer.step()
    now = dict(net.named_parameters())
    if moved := [name for name, old in frozen.items() if not torch.equal(now[name], old)]:
        return "FAIL", f"a step changes {len(moved)} frozen parameters, such as {moved[0]}"
    held = dict(net.named_buffers())
    if moved := [name for name, old in buffers.items() if not torch.equal(held[name], old)]:
        return "WARN", f"a training forward changes {len(moved)} buffers of frozen parts, such as {moved[0]}"
    return "PASS", f"{len(frozen)} frozen parameters and {len(buffers)} buffers stay"


def _is_frozen(module: nn.Module) -> bool:
    own = list(module.parameters(recurse=False))
    return bool(own) and not any(p.requires_grad for p in own)
