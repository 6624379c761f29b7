"""Too many files are open.

## What

The limit of open files of the process is reached.

## Why

Workers share each tensor by a file descriptor; a data set that keeps files open does the rest.

## Bad

```text
RuntimeError: unable to open shared memory object </torch_1_2> in read-write mode: Too many open files (24)
```

## Good

```python
torch.multiprocessing.set_sharing_strategy("file_system")
```

## Fix

`ulimit -n 65535`, or `torch.multiprocessing.set_sharing_strategy("file_system")`; close files in the data set, and
keep no batches of a loader in a list.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"Too many open files|received \d+ items of ancdata", weight=30),
)
