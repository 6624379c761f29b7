"""A tensor of many values stands where one value is needed.

## What

`.item()`, `float()`, `int()` or `if` gets a tensor with more than one element.

## Why

A reduction is missing, a comparison gives one answer for each element, or a loss class was called with tensors in
place of being built first.

## Bad

```python
import torch

loss = torch.ones(4)
loss.item()
```

## Good

```python
import torch

loss = torch.ones(4)
loss.mean().item()
```

## Fix

Reduce first (`.mean()`, `.sum()`), ask `.any()` or `.all()` of a comparison, collect with `.tolist()`; a loss is
built and then called: `nn.CrossEntropyLoss()(out, y)`.

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"a Tensor with \d+ elements cannot be converted to Scalar|only one element tensors can be converted|"
        r"Boolean value of Tensor with (?:more than one|no) values? is ambiguous|only (?:single-element|"
        r"integer) tensors .*can be converted"
    ),
)
