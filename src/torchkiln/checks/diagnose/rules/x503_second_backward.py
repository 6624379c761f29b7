"""A graph is used for a second backward.

## What

`backward()` goes through a graph that an earlier `backward()` freed.

## Why

The same loss twice, or something of an earlier step (a hidden state, a running loss, features) that still hangs on
its graph.

## Bad

```python
import torch

w = torch.ones(2, requires_grad=True)
loss = (w * w).sum()
loss.backward()
loss.backward()
```

## Good

```python
import torch

w = torch.ones(2, requires_grad=True)
for _ in range(2):
    loss = (w * w).sum()
    loss.backward()
```

## Fix

Compute anew in each step what the loss hangs on, and `.detach()` what is carried over (`hidden = hidden.detach()`);
add losses up and call `backward()` once.

## How sure

96 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"Trying to backward through the graph a second time|buffers have already been freed|"
        r"after they have already been freed"
    ),
    lint=("W130",),
)
