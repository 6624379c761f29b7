"""The disk is full.

## What

A file, most often a checkpoint or a log, could not be written for lack of room.

## Why

Checkpoints of every epoch add up; a quota or a small /tmp counts too.

## Bad

```text
OSError: [Errno 28] No space left on device
```

## Good

```sh
df -h .
```

## Fix

Make room (`df -h`, `du -sh *`), keep the last and the best checkpoints alone, and set TMPDIR to a larger disk; the
file that was being written is damaged.

## How sure

96 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"No space left on device|Disk quota exceeded", weight=13),
    Seen(r"inline_container\.cc.*unexpected pos|PytorchStreamWriter failed writing", weight=12),
)
