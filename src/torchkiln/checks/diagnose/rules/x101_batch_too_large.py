"""A step needs more memory than the device has: the batch is too large.

## What

An allocation on the GPU fails while most of its memory is in use by this program's own activations.

## Why

Activations grow with the batch (and with the length or size of its samples); weights, gradients and the optimizer's
states come on top.

## Bad

```text
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 784.00 MiB. GPU 0 has a total capacity of 10.76
GiB of which 112.69 MiB is free. Including non-PyTorch memory, this process has 10.60 GiB memory in use. Of the
allocated memory 9.87 GiB is allocated by PyTorch, and 71.10 MiB is reserved by PyTorch but unallocated.
```

## Good

```python
loader = DataLoader(data, batch_size=16)
for i, (x, y) in enumerate(loader):
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = criterion(model(x), y) / 4
    loss.backward()
    if i % 4 == 3:
        optimizer.step()
        optimizer.zero_grad()
```

## Fix

Halve the batch size and accumulate gradients over two batches; mixed precision and activation checkpointing save
more.

## How sure

85 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.out_of_memory import NOT_HOST, OUT_OF_MEMORY
from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(OUT_OF_MEMORY, kind=NOT_HOST),
    also=("X102", "X103", "X105"),
)
