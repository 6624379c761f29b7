"""Tensors of one operation have different types.

## What

A layer or operation gets a tensor of another type than its weights: float64 from numpy, half precision beside
float32, whole numbers.

## Why

Layers multiply only equal types; numpy makes float64 where torch makes float32.

## Bad

```python
import torch
from torch import nn

x = torch.ones(4, 3, dtype=torch.float64)
nn.Linear(3, 2)(x)
```

## Good

```python
import torch
from torch import nn

x = torch.ones(4, 3, dtype=torch.float64)
nn.Linear(3, 2)(x.float())
```

## Fix

Bring the input to the model's type: `x.float()` (or `.to(model_dtype)`), or make arrays float32 where the data is
read; for half precision use `torch.autocast` in place of `.half()`.

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.places import LOSS
from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"must have the same dtype|expected (?:scalar type|m1 and m2 to have|mat1 and mat2 to have|"
        r"input and weight to have)[^.]*(?:but found|dtype|but got)|mixed dtype \(CPU\)|RNN input dtype|"
        r"all inputs must share same datatype|expected input to have (?:the same )?dtype",
        no_frame=LOSS,
    ),
    Seen(
        r"Input type \((?P<a>[^)]+)\) and (?:bias|weight) type \((?P<b>[^)]+)\) should be the same",
        when=lambda f, c: "cuda" not in f.flat.lower() or f.flat.lower().count("cuda") == 2,
    ),
    Seen(r"result type \w+ can't be cast to the desired output type \w+", no_frame=LOSS),
    Seen(
        r"Index put requires the source and destination dtypes match|self and mat2 must have the same dtype|"
        r"Expected object of (?:scalar )?type \S+ but got (?:scalar )?type|expected dtype \w+ (?:for|but)|"
        r"dtype of the input tensor and .* should be the same|"
        r"Expected query, key, and value to have the same dtype"
    ),
    fix="bring `{given}` to the type of `{layer}`: `{given}.float()`, or make it float32 where it is read.",
)
