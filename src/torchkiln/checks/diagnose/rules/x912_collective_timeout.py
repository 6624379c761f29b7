"""A rank waited too long for the others.

## What

A collective times out: not all ranks came to it.

## Why

One rank died, hangs, has fewer batches, takes another branch (a collective under `if rank == 0`), or writes a
checkpoint for longer than the timeout.

## Bad

```text
[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=96120, OpType=ALLREDUCE,
Timeout(ms)=1800000) ran for 1800625 milliseconds before timing out.
```

## Good

```python
dist.init_process_group("nccl", timeout=timedelta(hours=1))
```

## Fix

Find the rank that is missing: look for an earlier error in the other ranks' logs, give all ranks equally many
batches (`drop_last`, `join()`), let all ranks call each collective; TORCH_NCCL_TRACE_BUFFER_SIZE=2000 keeps what
each did last.

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"Watchdog caught collective operation timeout|collective operation timeout|"
        r"Timed out waiting \d+ms for (?:recv|send) operation|NCCL (?:timeout|watchdog)|"
        r"timed out in .*(?:allreduce|barrier|broadcast|all_gather)|"
        r"ran for \d+ milliseconds before timing out|monitoredBarrier",
        weight=32,
    ),
    lines=(
        r"Watchdog caught collective operation timeout",
        r"ran for \d+ milliseconds before timing out",
        r"heartbeat monitor.*timed out|Heartbeat monitor timed out",
    ),
)
