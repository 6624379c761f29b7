"""A process of several failed, and the log does not hold its error.

## What

torchrun, `spawn` or a parent process only reports that a child ended.

## Why

The child's own traceback is in its own log.

## Bad

```text
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
```

## Good

```sh
torchrun --redirects 3 --log-dir logs train.py
```

## Fix

Find the child's own error: above in this log, in `--log-dir`, or by `@record` of
`torch.distributed.elastic.multiprocessing.errors` above `main`; exit code -9 is the system's killer for memory.

## How sure

60 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(kind="ChildFailedError|ProcessExitedException", weight=1, follows=True),
)
