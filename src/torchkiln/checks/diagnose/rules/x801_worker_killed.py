"""A process that reads data was killed.

## What

A loader's worker ended by a signal (Killed, Segmentation fault, Aborted) or without a word.

## Why

The machine's memory ran out and the system killed it, or a library in it crashed.

## Bad

```text
RuntimeError: DataLoader worker (pid 5521) is killed by signal: Killed.
```

## Good

```python
loader = DataLoader(data, batch_size=64, num_workers=2, prefetch_factor=2)
```

## Fix

Take fewer workers and look at the memory (`free -g`, `dmesg | tail`): lists of Python objects in a data set are
copied by each worker, arrays are not; `num_workers=0` shows the error itself.

## How sure

92 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"Pin memory thread exited unexpectedly", weight=8, follows=True),
    Seen(
        r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) is killed by signal: (?!Bus)|"
        r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) is killed by signal: (?:Killed|Segmentation fault|"
        r"Aborted)",
        weight=14,
    ),
    Seen(r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) exited unexpectedly", weight=8, follows=True),
)
