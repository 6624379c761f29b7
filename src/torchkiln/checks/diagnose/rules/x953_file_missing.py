"""A file or folder does not exist.

## What

A path leads nowhere.

## Why

A relative path starts at the working directory, not at the script; a mount or download is missing.

## Bad

```python
open("no/such/file.csv")
```

## Good

```python
import os

open(os.devnull)
```

## Fix

Print `os.path.abspath(path)`: a relative path starts at the working directory; use `Path(__file__).parent /
"data"`.

## How sure

93 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"\[Errno 2\] No such file or directory: (?P<name>'[^']*'|\S+)|"
        r"No such file or directory: (?P<other>'.*')",
        kind="FileNotFoundError|OSError",
        weight=11,
    ),
    Seen(r"No such file or directory|does not exist", kind="FileNotFoundError", weight=10),
    fix="{name} is not there: a relative path starts at the working directory; see where it comes from in `{code}`.",
)
