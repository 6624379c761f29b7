"""The system killed the program, most often for its memory.

## What

The program ends by signal 9 without a traceback.

## Why

The machine's (or container's, or job's) memory ran out.

## Bad

```text
Epoch 1 step 300 loss 0.71
Killed
```

## Good

```sh
dmesg -T | grep -i -E "killed process|oom"
```

## Fix

Look at `dmesg -T | grep -i oom` (in Kubernetes "OOMKilled", in Slurm `sacct -o MaxRSS`), then read data in parts,
take fewer workers, keep no tensors of the graph in lists, or ask for more memory.

## How sure

90 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"exit(?: ?code|code)?:? ?-9\b|signal SIGKILL|Signal 9 \(SIGKILL\)", weight=3),
    lines=(
        r"^\s*(?:bash: line \d+: +|\S+: line \d+: +)?(?:\d+ )?Killed\b(?!.*worker)",
        r"[Oo]ut of memory: Killed process|oom[-_ ]kill|OOMKilled|task \d+: Out Of Memory|Exceeded job memory limit",
        r"\(SIGKILL\)|exitcode ?: ?-9\b",
    ),
)
