"""A kernel reached into memory that is not its own.

## What

`an illegal memory access was encountered`.

## Why

A bug in a kernel (an extension of your own or of a library), tensors of more than 2^31 elements, or two devices in
one operation without `torch.cuda.device`.

## Bad

```text
RuntimeError: CUDA error: an illegal memory access was encountered
```

## Good

```sh
CUDA_LAUNCH_BLOCKING=1 python train.py
```

## Fix

Find the operation with CUDA_LAUNCH_BLOCKING=1 (or `compute-sanitizer`), update the extension it belongs to, and set
`torch.cuda.set_device(rank)`.

## How sure

93 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"illegal memory access|misaligned address|cudaErrorIllegalAddress|CUDA error: an illegal instruction",
        weight=35,
    ),
    lines=(r"CUDA error: an illegal memory access was encountered",),
)
