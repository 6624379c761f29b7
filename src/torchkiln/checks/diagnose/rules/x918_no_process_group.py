"""There is no process group yet.

## What

A rank, a collective or DDP is asked for before `init_process_group`.

## Why

The order of the program, or a program that runs as one process without torchrun.

## Bad

```python
import torch.distributed as dist

dist.get_rank()
```

## Good

```python
import torch.distributed as dist

rank = dist.get_rank() if dist.is_initialized() else 0
```

## Fix

Call `torch.distributed.init_process_group()` first, or ask `dist.is_initialized()`.

## How sure

98 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"Default process group (?:has not been|is not) initialized|process group (?:has not been|"
        r"is not) initialized|trying to initialize the default process group twice"
    ),
)
