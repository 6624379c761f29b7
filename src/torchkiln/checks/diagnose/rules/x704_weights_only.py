"""The file holds more than weights, which `weights_only=True` refuses.

## What

`torch.load` meets a class that is not among those it trusts.

## Why

Since torch 2.6 `weights_only=True` is the default; a pickle can run any code.

## Bad

```python
import argparse
import io

import torch

file = io.BytesIO()
torch.save({"args": argparse.Namespace(lr=1)}, file)
file.seek(0)
torch.load(file)
```

## Good

```python
import io

import torch

file = io.BytesIO()
torch.save({"lr": 1}, file)
file.seek(0)
torch.load(file)
```

## Fix

Of a file that you trust: `torch.load(file, weights_only=False)`, or name its classes by
`torch.serialization.add_safe_globals([...])`; save state dicts and plain values from now on.

## How sure

98 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"Weights only load failed|Unsupported (?:global|class|operand)|WeightsUnpickler error"),
    lint=("D202",),
)
