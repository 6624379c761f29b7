"""A module has no `forward`.

## What

A module is called and its class defines no `forward`, or one that is spelt or indented wrongly.

## Why

Calling a module runs `forward`; a function inside `__init__` is not a method.

## Bad

```python
from torch import nn


class Net(nn.Module):
    def foward(self, x):
        return x


Net()(1)
```

## Good

```python
from torch import nn


class Net(nn.Module):
    def forward(self, x):
        return x


Net()(1)
```

## Fix

Define `forward(self, ...)` in the class itself: look at its spelling and indentation; index an `nn.ModuleList` or
loop over it in place of calling it.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"is missing the required \"forward\" function"),
    Seen(r"^$", kind="NotImplementedError", frame=r"torch/nn/modules/module\.py:(?:forward|_forward_unimplemented)"),
)
