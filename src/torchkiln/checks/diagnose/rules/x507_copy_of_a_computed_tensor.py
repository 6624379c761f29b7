"""A tensor of a graph cannot be copied.

## What

`copy.deepcopy` (also of a model, a batch or a logger's state) meets a tensor that was computed with gradients.

## Why

Only leaves of the graph can be copied with it; a module that keeps an output, a loss or a hidden state on `self`
holds such a tensor.

## Bad

```python
import copy

import torch

w = torch.ones(2, requires_grad=True)
copy.deepcopy(w * 2)
```

## Good

```python
import copy

import torch

w = torch.ones(2, requires_grad=True)
copy.deepcopy((w * 2).detach())
```

## Fix

`.detach()` what is kept on `self`, or copy `state_dict()` in place of the whole.

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"Only Tensors created explicitly by the user .*support the deepcopy protocol|"
        r"Cowardly refusing to serialize non-leaf tensor"
    ),
)
