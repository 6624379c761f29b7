"""An operation does not exist for this type.

## What

An operation is asked of a type that it is not written for: a mean of whole numbers, a softmax of longs, half
precision on the CPU.

## Why

Means and softmax need floating point; some kernels have no half precision on the CPU.

## Bad

```python
import torch

hits = torch.tensor([1, 0, 1])
hits.mean()
```

## Good

```python
import torch

hits = torch.tensor([1, 0, 1])
hits.float().mean()
```

## Fix

Convert first: `.float()` for means, softmax and losses; `.long()` for indices; on the CPU use float32 or bfloat16
in place of half.

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.places import LOSS
from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"\"?\w+\"? not implemented for '\w+'|could not infer output dtype|"
        r"Subtraction, the `-` operator, with (?:two|a) bool tensors?|Negation, the `-` operator|(?:is|"
        r"are) not (?:currently )?supported (?:for|on) (?:bool|Bool|\w*Half|BFloat16)|"
        r"can only be applied to (?:floating|integral)|Can only calculate the mean of floating types|"
        r"Got unsupported ScalarType|tensors used as indices must be|is only applicable to index tensor",
        no_frame=LOSS,
    ),
    Seen(r"expected .*dtype to be (?:floating|integral)|Expected floating point type for result tensor"),
)
