"""Shared memory is full.

## What

Workers hand batches over in shared memory, and `/dev/shm` has no room (a bus error).

## Why

Containers have 64 MB of it by default.

## Bad

```text
ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).
RuntimeError: DataLoader worker (pid 31) is killed by signal: Bus error. It is possible that dataloader's
workers are out of shared memory. Please try to raise your shared memory limit.
```

## Good

```sh
docker run --shm-size=8g image python train.py
```

## Fix

Give the container more (`--shm-size=8g` or `--ipc=host`; in Kubernetes an `emptyDir` of medium Memory at /dev/shm),
or take fewer workers and smaller batches.

## How sure

96 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"killed by signal: Bus error|insufficient shared memory|out of shared memory|unable to (?:open|"
        r"write to|allocate|mmap) (?:shared memory|file </torch_|\d+ bytes from file)|shm_open|"
        r"torch_shm_manager|/dev/shm.*No space left|No space left on device: '/dev/shm",
        weight=18,
    ),
    Seen(r"No space left on device", frame=r"multiprocessing/|reductions\.py|_share_|shared_memory", weight=18),
    lines=(r"insufficient shared memory \(shm\)", r"killed by signal: Bus error"),
)
