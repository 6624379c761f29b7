"""Two ranks use one GPU.

## What

NCCL finds one device twice, or a rank has no device of its own.

## Why

More processes than GPUs, or `torch.cuda.set_device(local_rank)` is missing.

## Bad

```text
torch.distributed.DistBackendError: NCCL error: invalid usage. Duplicate GPU detected : rank 0 and rank 1 both
on CUDA device 50000
```

## Good

```python
torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
```

## Fix

Start as many processes as there are GPUs, and call `torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))` first.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"Duplicate GPU detected", weight=36),
    lines=(r"Duplicate GPU detected",),
)
