"""Batches on the GPU cannot be pinned.

## What

`pin_memory=True` with samples that lie on a GPU already.

## Why

Only the machine's own memory is pinned, to be copied faster.

## Bad

```text
RuntimeError: cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned
```

## Good

```python
loader = DataLoader(data, pin_memory=True)
for x, y in loader:
    x = x.to("cuda", non_blocking=True)
```

## Fix

Keep samples on the CPU and move batches in the loop, or set `pin_memory=False`.

## How sure

98 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"only dense CPU tensors can be pinned|[Nn]eed to provide pin_memory allocator"),
    lint=("P307",),
)
