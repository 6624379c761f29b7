"""The process does not know its rank and its master.

## What

`init_process_group` finds no RANK, WORLD_SIZE, MASTER_ADDR or MASTER_PORT.

## Why

A distributed script is started by `python` and not by torchrun.

## Bad

```text
ValueError: Error initializing torch.distributed using env:// rendezvous: environment variable RANK expected,
but not set
```

## Good

```sh
torchrun --nproc-per-node 2 train.py
```

## Fix

Start it by `torchrun --nproc-per-node N train.py`, and read `int(os.environ["LOCAL_RANK"])`.

## How sure

98 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"environment variable (?:RANK|WORLD_SIZE|MASTER_ADDR|MASTER_PORT|LOCAL_RANK) expected, but not set"),
    Seen(r"^'(?:LOCAL_RANK|RANK|WORLD_SIZE|MASTER_ADDR|MASTER_PORT)'$", kind="KeyError"),
)
