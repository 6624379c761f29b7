"""The optimizer is given something that are no parameters.

## What

A model, a tensor, a list of lists, or a computed tensor in place of parameters.

## Why

An optimizer wants an iterable of leaf tensors, or dicts with `params`.

## Bad

```python
import torch
from torch import nn

model = nn.Linear(2, 2)
torch.optim.SGD(model, 0.1)
```

## Good

```python
import torch
from torch import nn

model = nn.Linear(2, 2)
torch.optim.SGD(model.parameters(), 0.1)
```

## Fix

Pass `model.parameters()`; join several with `[*a.parameters(), *b.parameters()]`; make a tensor of your own an
`nn.Parameter` on its device first.

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"can't optimize a non-leaf Tensor|optimizer can only optimize Tensors|"
        r"params argument given to the optimizer should be|"
        r"some parameters appear in more than one parameter group|parameter group didn't specify"
    ),
    Seen(r"object is not iterable", frame=r"torch/optim/", kind="TypeError"),
    Seen(
        r"Invalid (?:learning rate|momentum value|weight_decay value|beta parameter|epsilon value)|"
        r"not supported between instances of 'float' and 'str'",
        frame=r"torch/optim/",
        kind="ValueError|TypeError",
    ),
)
