"""The model, or its optimizer's states, does not fit into the device's memory.

## What

Memory runs out while the model is moved or loaded, or while the optimizer makes its states in its first step.

## Why

Weights in FP32 take 4 bytes each, their gradients 4 more and Adam 8 more, whatever the batch is.

## Bad

```text
Traceback (most recent call last):
  File "train.py", line 12, in <module>
    model = Big().to("cuda")
  File "/venv/lib/python3.11/site-packages/torch/nn/modules/module.py", line 1174, in to
    return self._apply(convert)
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 500.00 MiB. GPU 0 has a total capacity of 23.69
GiB of which 12.69 MiB is free. Including non-PyTorch memory, this process has 23.50 GiB memory in use. Of the
allocated memory 23.10 GiB is allocated by PyTorch, and 71.00 MiB is reserved by PyTorch but unallocated.
```

## Good

```python
model = Big().to("cuda", dtype=torch.bfloat16)
```

## Fix

Load the weights in bfloat16, shard them over devices (FSDP), train adapters in place of all weights, or take a
smaller model; a smaller batch does not help here.

## How sure

80 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.out_of_memory import NOT_HOST, OUT_OF_MEMORY, placing
from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(OUT_OF_MEMORY, kind=NOT_HOST, when=placing, weight=20),
    also=("X101",),
)
