"""Numbers are no longer finite: NaN or infinity.

## What

Something stops at NaN or infinity: a distribution, anomaly detection, a check of the loss.

## Why

The learning rate is too high, half precision overflowed, a logarithm or division met 0, or the data holds NaN.

## Bad

```python
import torch

scores = torch.tensor([float("nan"), 1.0])
torch.multinomial(scores, 1)
```

## Good

```python
import torch

scores = torch.tensor([0.5, 1.0])
torch.multinomial(scores, 1)
```

## Fix

Look for NaN in the data first (`torch.isfinite(x).all()`), then lower the learning rate, clip gradients, use
bfloat16 for float16, and put `eps` into logarithms and divisions; `torch.autograd.set_detect_anomaly(True)` names
the operation.

## How sure

93 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"returned nan values in its \d+th output|probability tensor contains either|"
        r"to satisfy the constraint .*found invalid values:.*(?:nan|inf)|"
        r"is non-finite, so it cannot be clipped|[Ll]oss is (?:nan|NaN|inf|not finite)|"
        r"(?:The )?loss (?:returned|is|became) .*(?:nan|inf)|[Ii]nput contains (?:NaN|infinity)|contains NaN|"
        r"non-finite (?:loss|grad)",
        kind="Error|Exception",
    ),
)
