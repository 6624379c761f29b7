"""The targets have a type that the loss does not take.

## What

Class indices come as floats or 32-bit integers, or a loss on numbers gets whole numbers.

## Why

Cross-entropy wants class indices as `long`; BCE and MSE want floats of the output's type.

## Bad

```python
import torch
from torch import nn

out, y = torch.ones(2, 3), torch.tensor([0.0, 2.0])
nn.CrossEntropyLoss()(out, y)
```

## Good

```python
import torch
from torch import nn

out, y = torch.ones(2, 3), torch.tensor([0.0, 2.0])
nn.CrossEntropyLoss()(out, y.long())
```

## Fix

`y.long()` for CrossEntropyLoss and NLLLoss with class indices; `y.float()` for BCE, BCEWithLogits and MSE.

## How sure

96 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.places import LOSS
from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"but got (?:scalar )?type \w+ for argument #\d+ 'target'", weight=15),
    Seen(
        r"expected target dtype to be|Expected floating point type for target|expected scalar type (?:Long|"
        r"Float|Double) but found|Found dtype \w+ but expected|result type \w+ can't be cast|"
        r"not implemented for '(?:Int|Float|Bool|Char|Short|Long|Double)'|[Ee]xpected object of scalar type|"
        r"must have the same dtype",
        frame=LOSS,
        weight=14,
    ),
    Seen(
        r"expected target dtype to be|Expected floating point type for target|"
        r"\"nll_loss\w*\" not implemented for|\"?host_softmax\"? not implemented for 'Long'|"
        r"Found dtype (?:Long|Int|Double|Float|Bool) but expected",
        weight=12,
    ),
    fix="convert the targets in `{code}`: `{second}.long()` for class indices, `{second}.float()` for BCE and MSE.",
)
