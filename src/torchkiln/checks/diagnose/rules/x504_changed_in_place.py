"""Something that backward needs was changed in place.

## What

A tensor that the graph kept was changed before `backward()`: `+=`, `x[...] = `, `relu_`, `inplace=True`, or an
optimizer's step.

## Why

Gradients are computed from the values that the forward saw.

## Bad

```python
import torch

w = torch.ones(3, requires_grad=True)
y = w.exp()
y += 1
y.sum().backward()
```

## Good

```python
import torch

w = torch.ones(3, requires_grad=True)
y = w.exp()
y = y + 1
y.sum().backward()
```

## Fix

Write a new tensor in place of a change (`y = y + 1`, `inplace=False`), call all backwards before the optimizers
step, and `.detach()` what goes to the other net of a GAN; `torch.autograd.set_detect_anomaly(True)` shows the line.

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"modified by an inplace operation|[Oo]utput \d+ of \w+ is a view and (?:is being|its base)"),
)
