"""Memory grows step by step: the graph of earlier batches is kept.

## What

The device fills up over many steps: something outlives its step and holds on to the graph that computed it.

## Why

A loss that is added up or put in a list without `.item()` or `.detach()` keeps all activations of its batch.

## Bad

```text
Traceback (most recent call last):
  File "train.py", line 21, in train
    total_loss += loss
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 7.79 GiB
of which 8.00 MiB is free. Including non-PyTorch memory, this process has 7.70 GiB memory in use. Of the
allocated memory 7.51 GiB is allocated by PyTorch, and 40.00 MiB is reserved by PyTorch but unallocated.
```

## Good

```python
total_loss += loss.item()
```

## Fix

Keep numbers and not tensors of the graph: `.item()` or `.detach()` on what outlives the step, no
`retain_graph=True`, and detach a hidden state that is carried on.

## How sure

80 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.out_of_memory import NOT_HOST, OUT_OF_MEMORY, graph_kept
from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(OUT_OF_MEMORY, kind=NOT_HOST, when=graph_kept, weight=25),
    lint=("W129", "W130"),
    also=("X101",),
)
