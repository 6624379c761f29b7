"""Another process holds the device's memory.

## What

An allocation on the GPU fails though this program has little of its memory: others have the rest.

## Why

A notebook, an earlier run that did not end, or somebody else's job holds it.

## Bad

```text
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 23.69 GiB
of which 12.69 MiB is free. Process 2310 has 21.70 GiB memory in use. Including non-PyTorch memory, this process
has 1.95 GiB memory in use. Of the allocated memory 1.50 GiB is allocated by PyTorch, and 71.00 MiB is reserved
by PyTorch but unallocated.
```

## Good

```sh
nvidia-smi
CUDA_VISIBLE_DEVICES=1 python train.py
```

## Fix

Look who has it (`nvidia-smi`), end what is yours (a notebook's kernel, a run that hangs), or choose another device
by CUDA_VISIBLE_DEVICES.

## How sure

90 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.out_of_memory import NOT_HOST, OUT_OF_MEMORY, others
from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"all CUDA-capable devices are busy or unavailable", weight=33),
    Seen(OUT_OF_MEMORY, kind=NOT_HOST, when=others, weight=40),
    also=("X101",),
)
