"""A torch function gets something that is no tensor.

## What

A layer or function of torch is given an array, a list, a picture, a tuple or `None`.

## Why

Layers take tensors; a sample that was not converted, or a model that returns a tuple or an output object, hands on
something else.

## Bad

```python
import numpy as np
import torch
from torch import nn

nn.Linear(2, 2)(np.ones((1, 2)))
```

## Good

```python
import numpy as np
import torch
from torch import nn

nn.Linear(2, 2)(torch.from_numpy(np.ones((1, 2), dtype=np.float32)))
```

## Fix

Convert it first (`torch.as_tensor(x, dtype=torch.float32)`, `ToTensor()` among the transforms), or take the tensor
out of what the model returned (`out[0]`, `out.logits`).

## How sure

92 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"\w+\(\): argument '\w+'(?: \(position \d+\))? must be (?:Tensor|tuple of Tensors), not|"
        r"\w+\(\) received an invalid combination of arguments - got \(.*(?:ndarray|list|NoneType|tuple|Image|"
        r"str)|expected Tensor as element \d+ in argument \d+, but got|(?:img|pic) should be (?:Tensor Image|"
        r"PIL Image or ndarray|PIL Image)|Expected a (?:torch\.)?Tensor|"
        r"'(?:numpy\.)?ndarray' object has no attribute '(?:to|cuda|unsqueeze|float|dim|permute|backward|"
        r"view)'|'(?:list|tuple)' object has no attribute '(?:to|cuda|unsqueeze|float|dim|permute|view|size|"
        r"backward)'|'(?:float|int)' object has no attribute 'backward'|"
        r"'\w*Output\w*' object has no attribute '(?:size|shape|dim|argmax|softmax|view|log_softmax)'"
    ),
    fix="make `{given}` a tensor before `{called}` gets it: `torch.as_tensor({given}, dtype=torch.float32)`; "
    "of a model's output take the tensor in it.",
)
