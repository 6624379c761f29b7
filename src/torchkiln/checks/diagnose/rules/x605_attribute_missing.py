"""A module has no layer or attribute of that name.

## What

`self.name` of a module (or its wrapper's) does not exist.

## Why

The layer is spelt in another way in `__init__`, was put into a container, or the class has no such method.

## Bad

```python
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(2, 2)

    def forward(self, x):
        return self.fc(x)


Net()(1)
```

## Good

```python
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(2, 2)

    def forward(self, x):
        return self.fc1(x)


Net()(torch.ones(1, 2))
```

## Fix

Compare the name with those in `__init__`; `print(model)` lists the layers.

## How sure

93 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"'(?P<cls>\w+)' object has no attribute '(?P<name>\w+)'",
        kind="AttributeError",
        frame=r"torch/nn/modules/module\.py:__getattr__",
        weight=8,
    ),
    fix="`{cls}` has no `{name}`: compare it with the names in `__init__`; `print(model)` lists the layers.",
)
