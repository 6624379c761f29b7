"""A tensor of inference mode is used where gradients are recorded.

## What

Something made under `torch.inference_mode()` takes part in training later, or is changed in place.

## Why

Such tensors carry no bookkeeping, for speed.

## Bad

```python
import torch

with torch.inference_mode():
    x = torch.ones(2)
(x * torch.ones(2, requires_grad=True)).sum().backward()
```

## Good

```python
import torch

with torch.no_grad():
    x = torch.ones(2)
(x * torch.ones(2, requires_grad=True)).sum().backward()
```

## Fix

Use `torch.no_grad()` where the result is trained with later, or `.clone()` it outside; with Lightning
`Trainer(inference_mode=False)`.

## How sure

98 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"[Ii]nference tensors? (?:cannot be saved for backward|outside InferenceMode|do not track version)|"
        r"Inplace update to inference tensor|on inference tensor outside InferenceMode|Inference tensors"
    ),
)
