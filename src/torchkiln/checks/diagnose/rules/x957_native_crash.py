"""The program crashed in compiled code.

## What

The program ends by a segmentation fault or an illegal instruction, without a traceback of Python.

## Why

A library in it reached where it may not: two builds that do not fit, an extension, threads after a fork, or a
processor that lacks what the build wants.

## Bad

```text
Fatal Python error: Segmentation fault
Segmentation fault (core dumped)
```

## Good

```sh
python -X faulthandler train.py
```

## Fix

Run `python -X faulthandler train.py`, which names the line; try `num_workers=0`, import torch first, install torch and
what was built against it anew, and update extensions.

## How sure

80 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"Signal 11 \(SIGSEGV\)|signal SIGSEGV", weight=3),
    lines=(r"Segmentation fault|SIGSEGV|Fatal Python error: Illegal instruction|Illegal instruction \(core dumped\)",),
)
