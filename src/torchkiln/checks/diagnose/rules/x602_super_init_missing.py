"""A module uses its layers before `super().__init__()`.

## What

A subclass of `nn.Module` assigns layers, or is called, and its parent's `__init__` did not run.

## Why

`nn.Module` makes there the tables that hold layers, parameters and hooks.

## Bad

```python
from torch import nn


class Net(nn.Module):
    def __init__(self):
        self.fc = nn.Linear(2, 2)


Net()
```

## Good

```python
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)


Net()
```

## Fix

Call `super().__init__()` in the first line of `__init__`.

## How sure

98 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"cannot assign (?:module|parameters|buffer|parameter)s? before Module\.__init__\(\) call"),
    Seen(
        r"object has no attribute '_(?:modules|parameters|buffers|backward_hooks|forward_hooks|"
        r"backward_pre_hooks|forward_pre_hooks|non_persistent_buffers_set|load_state_dict_pre_hooks|"
        r"state_dict_hooks|is_full_backward_hook)'"
    ),
    lint=("E116",),
)
