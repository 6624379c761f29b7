"""CUDA is used in a forked process.

## What

A process that was forked after CUDA had started uses CUDA.

## Why

A CUDA context does not survive a fork: the data set moves samples to the GPU, or processes are started by fork
after `.cuda()`.

## Bad

```text
RuntimeError: Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the
'spawn' start method
```

## Good

```python
class Pictures(Dataset):
    def __getitem__(self, i):
        return self.pictures[i]


for x in DataLoader(Pictures(), num_workers=4, pin_memory=True):
    x = x.to("cuda", non_blocking=True)
```

## Fix

Keep data sets and collate functions on the CPU and move batches in the loop; or start processes by spawn
(`multiprocessing_context="spawn"`).

## How sure

98 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"Cannot re-initialize (?:CUDA|XPU) in forked subprocess|CUDA error: initialization error|poison_fork|"
        r"forked subprocess"
    ),
    lint=("P307",),
)
