"""`DataParallel` is used.

## What

A model is wrapped in `nn.DataParallel`.

## Why

It copies the model to every device at each step from one Python process: slow, uneven in memory, and no longer
developed. torch recommends `DistributedDataParallel` on a single machine too.

## Bad

```python
from torch import nn

model = nn.DataParallel(model)
```

## Good

```python
from torch.nn.parallel import DistributedDataParallel

model = DistributedDataParallel(model)
```

## Fix

Use `DistributedDataParallel` and start the program by `torchrun`.

## How sure

99 %.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchkiln.checks.lint.view import Found, View


def check(view: View) -> Iterator[Found]:
    """One finding for each use."""
    for call, function in view.calls("torch.nn.DataParallel", "torch.nn.parallel.data_parallel"):
        yield Found(call, function.source, "DataParallel is slow and no longer developed")
