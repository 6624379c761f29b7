"""The checkpoint's names are not those of the model.

## What

Keys are missing or unexpected when a state dict is loaded.

## Why

The model was built in another way (another head, layers renamed, another version), or the file holds more than the
weights.

## Bad

```python
from torch import nn

nn.Sequential(nn.Linear(2, 2)).load_state_dict({"weight": 1})
```

## Good

```python
from torch import nn

nn.Sequential(nn.Linear(2, 2)).load_state_dict(nn.Sequential(nn.Linear(2, 2)).state_dict())
```

## Fix

Compare the names in the message; take the inner dict (`checkpoint["state_dict"]`, `checkpoint["model"]`) if the
file holds more; `strict=False` only where the names that are left out are meant to be.

## How sure

93 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"Missing key\(s\) in state_dict|Unexpected key\(s\) in state_dict|(?:missing|"
        r"unexpected) keys? in (?:source )?state_dict"
    ),
)
