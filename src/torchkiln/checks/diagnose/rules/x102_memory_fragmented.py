"""Memory is free but in pieces: the allocator's blocks are fragmented.

## What

An allocation on the GPU fails although torch has reserved more than it asks for and does not use it.

## Why

Batches of changing sizes leave holes between blocks, and none of them is large enough.

## Bad

```text
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.69 GiB
of which 1.06 GiB is free. Including non-PyTorch memory, this process has 22.60 GiB memory in use. Of the
allocated memory 14.11 GiB is allocated by PyTorch, and 8.02 GiB is reserved by PyTorch but unallocated.
```

## Good

```sh
PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True python train.py
```

## Fix

Set the environment variable PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True, and bring batches to few sizes (pad
to multiples, sort by length).

## How sure

85 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.out_of_memory import NOT_HOST, OUT_OF_MEMORY, fragmented
from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(OUT_OF_MEMORY, kind=NOT_HOST, when=fragmented, weight=30),
    also=("X101",),
)
