"""The optimizer gets no parameters.

## What

`optimizer got an empty parameter list`.

## Why

Layers in a plain list or dict are not registered, all parameters were filtered out as frozen, or a generator was
used up before.

## Bad

```python
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(2, 2)]


model = Net()
torch.optim.SGD(model.parameters(), 0.1)
```

## Good

```python
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 2)])


model = Net()
torch.optim.SGD(model.parameters(), 0.1)
```

## Fix

Keep layers in `nn.ModuleList`, `nn.ModuleDict` or as attributes, parameters as `nn.Parameter`; leave some
parameters unfrozen; call `model.parameters()` anew for each use.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"optimizer got an empty parameter list|got an empty parameter"),
    lint=("E117",),
)
