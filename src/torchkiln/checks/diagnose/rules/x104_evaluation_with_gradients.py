"""An evaluation runs out of memory since it records gradients.

## What

Memory runs out in a function that evaluates, validates or predicts, outside `torch.no_grad()`.

## Why

Every activation is kept for a backward that never comes, so an evaluation needs as much as a training step, and
more with larger batches.

## Bad

```text
Traceback (most recent call last):
  File "train.py", line 51, in main
    acc = evaluate(model, val_loader)
  File "train.py", line 30, in evaluate
    out = model(x)
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 392.00 MiB. GPU 0 has a total capacity of 15.78
GiB of which 180.75 MiB is free. Including non-PyTorch memory, this process has 15.50 GiB memory in use. Of the
allocated memory 14.20 GiB is allocated by PyTorch, and 114.00 MiB is reserved by PyTorch but unallocated.
```

## Good

```python
@torch.inference_mode()
def evaluate(model, loader):
    model.eval()
    return [model(x).argmax(1).cpu() for x, y in loader]
```

## Fix

Put `@torch.inference_mode()` above the function that evaluates (or `with torch.inference_mode():` around its loop),
and move what you collect to the CPU.

## How sure

85 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.out_of_memory import NOT_HOST, OUT_OF_MEMORY, evaluating
from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(OUT_OF_MEMORY, kind=NOT_HOST, when=evaluating, weight=24),
    fix="put `@torch.inference_mode()` above `{function}`, and move what it collects to the CPU.",
    lint=("W113",),
    also=("X101",),
)
