"""`autograd.grad` is asked for something that was not used.

## What

The input that a gradient is wanted for had no part in the output, or is no leaf whose `requires_grad` can be set.

## Why

It was replaced by a copy, detached, or belongs to another branch.

## Bad

```python
import torch

a, b = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
torch.autograd.grad((a * 2).sum(), b)
```

## Good

```python
import torch

a = torch.ones(2, requires_grad=True)
torch.autograd.grad((a * 2).sum(), a)
```

## Fix

Ask for the very tensor that went into the computation, or pass `allow_unused=True` where None is an answer.

## How sure

96 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"appears to not have been used in the graph|One of the differentiated Tensors does not require grad|"
        r"you can only change requires_grad flags of leaf variables"
    ),
)
