"""A module is called with other arguments than its `forward` takes.

## What

`forward()` misses an argument, or gets one too many or of another name.

## Why

The call and the signature differ: a batch that was not unpacked, a mask that a layer does not take, `nn.Sequential`
with two inputs.

## Bad

```python
from torch import nn


class Net(nn.Module):
    def forward(self, x, mask):
        return x


Net()(1)
```

## Good

```python
from torch import nn


class Net(nn.Module):
    def forward(self, x, mask=None):
        return x


Net()(1)
```

## Fix

Compare the call with `def forward(...)`; unpack a batch first (`x, y = batch`).

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"(?P<name>\w*\.?forward)\(\) (?:missing \d+ required|takes (?:from )?\d+ (?:to \d+ )?positional|"
        r"got (?:an unexpected keyword|multiple values))"
    ),
    fix="`{code}` does not fit `{name}`: compare its arguments with the signature, and unpack a batch first.",
)
