"""The checkpoint's names have a prefix that the model's do not, or the other way.

## What

All keys differ by one prefix: `module.` (DDP, DataParallel), `_orig_mod.` (compile), `model.` (Lightning).

## Why

The state dict was taken from the wrapper.

## Bad

```python
from torch import nn

net = nn.Linear(2, 2)
net.load_state_dict({f"module.{k}": v for k, v in net.state_dict().items()})
```

## Good

```python
from torch import nn

net = nn.Linear(2, 2)
state = {f"module.{k}": v for k, v in net.state_dict().items()}
net.load_state_dict({k.removeprefix("module."): v for k, v in state.items()})
```

## Fix

Take it off while loading: `{k.removeprefix("module."): v for k, v in state.items()}`, and save
`model.module.state_dict()` (of a compiled model `model._orig_mod.state_dict()`).

## How sure

96 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.places import prefixed
from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"(?:Missing|Unexpected) key\(s\) in state_dict", when=prefixed, weight=15),
)
