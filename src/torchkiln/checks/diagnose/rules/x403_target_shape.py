"""Output and target of the loss have different shapes.

## What

The target's shape, or its number of samples, is not what the loss wants for this output.

## Why

BCE and its like want equal shapes ([B, 1] is not [B]); cross-entropy wants [B, K] and [B], or [B, K, ...] and [B,
...].

## Bad

```python
import torch
from torch import nn

out, y = torch.ones(4, 1), torch.ones(4)
nn.BCEWithLogitsLoss()(out, y)
```

## Good

```python
import torch
from torch import nn

out, y = torch.ones(4, 1), torch.ones(4)
nn.BCEWithLogitsLoss()(out.squeeze(1), y)
```

## Fix

`out.squeeze(1)` or `y.unsqueeze(1)` for BCE and MSE; `y.squeeze(1)` or `y.argmax(1)` for cross-entropy with class
indices; classes in dimension 1: `out.transpose(1, 2)` for sequences.

## How sure

96 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.places import LOSS
from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"Using a target size .* that is different to the input size|"
        r"Target size \(.*\) must be the same as input size|"
        r"Expected input batch_size \(\d+\) to match target batch_size|multi-target not supported|"
        r"0D or 1D target tensor expected|only batches of spatial targets|Expected target size|"
        r"expected target size|weight tensor should be defined either for all|"
        r"input and target shapes do not match|invalid targets? (?:shape|size)|Expected target to (?:be|have)",
        weight=13,
    ),
    Seen(r"The size of tensor a \(\d+\) must match the size of tensor b", frame=LOSS, weight=13),
    fix="make the shapes of `{given}` and `{second}` in `{code}` fit: `squeeze(1)` on a column of one output "
    "or of labels, `argmax(1)` on one-hot labels.",
)
