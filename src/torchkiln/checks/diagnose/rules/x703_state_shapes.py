"""The checkpoint's tensors have other shapes than the model's.

## What

`size mismatch for NAME: copying a param with shape ...`.

## Why

Another number of classes, another vocabulary or another width.

## Bad

```python
from torch import nn

nn.Linear(2, 3).load_state_dict(nn.Linear(2, 5).state_dict())
```

## Good

```python
from torch import nn

nn.Linear(2, 3).load_state_dict(nn.Linear(2, 3).state_dict())
```

## Fix

Build the model with the checkpoint's sizes, or leave the tensors that differ out of the dict and load with
`strict=False` (a new head: `ignore_mismatched_sizes=True` in Hugging Face).

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"size mismatch for (?P<name>[\w.]+): copying a param with shape "
        r"torch\.Size\(\[(?P<have>[^\]]*)\]\) from checkpoint, the shape in current model is "
        r"torch\.Size\(\[(?P<want>[^\]]*)\]\)",
        weight=16,
    ),
    Seen(r"size mismatch for", weight=14),
    fix="`{name}` is [{have}] in the file and [{want}] in the model: build the model with the file's sizes, "
    "or leave it out of the dict and load with `strict=False`.",
)
