"""The loss hangs on no parameter: it has no graph.

## What

`backward()` on a tensor that nothing with `requires_grad` led to.

## Why

The graph was cut on the way (`.item()`, `.detach()`, `.data`, numpy, a new tensor, `argmax`, `no_grad`), or every
parameter is frozen.

## Bad

```python
import torch
from torch import nn

model = nn.Linear(2, 1)
loss = torch.tensor(model(torch.ones(1, 2)).sum().item())
loss.backward()
```

## Good

```python
import torch
from torch import nn

model = nn.Linear(2, 1)
loss = model(torch.ones(1, 2)).sum()
loss.backward()
```

## Fix

Compute the loss from the model's output with torch functions alone, outside `no_grad`; if all is frozen, give the
head `requires_grad_(True)`.

## How sure

96 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"element \d+ of (?:tensors|variables) does not require grad|"
        r"does not require grad and does not have a grad_fn|tensors does not require grad"
    ),
    fix="`{owner}` hangs on no parameter: follow it back for `.item()`, `.detach()`, `.data`, numpy, "
    "`argmax`, `no_grad`, a tensor made anew, or parameters that are all frozen.",
    lint=("E111",),
)
