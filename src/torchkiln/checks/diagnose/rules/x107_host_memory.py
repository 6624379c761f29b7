"""The machine's own memory runs out.

## What

An allocation on the CPU fails.

## Why

A tensor or array is larger than the RAM that is free: often a shape that is not what it should be, or a data set
that is read whole.

## Bad

```python
import torch

torch.zeros(10**6, 10**9)
```

## Good

```python
import torch

torch.zeros(10**3, 10**3)
```

## Fix

Look at the size that was asked for: if it surprises you the shape is wrong; else read in parts (`np.load(...,
mmap_mode="r")`, an iterable data set), in smaller batches, with fewer workers.

## How sure

90 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"[Pp]aging file is too small|DefaultCPUAllocator: (?:can't allocate memory|not enough memory)|"
        r"Unable to allocate [\d.]+ .?i?B for an array|std::bad_alloc|Cannot allocate memory",
        kind="Error|bad_alloc",
        no_frame=r"resource_tracker",
    ),
    Seen(kind=r"(^|\.)MemoryError$"),
    lines=(r"terminate called after throwing an instance of 'std::bad_alloc'",),
)
