"""The loader waited too long for a worker.

## What

`DataLoader timed out after N seconds`.

## Why

A worker hangs: a slow or lost file system, a deadlock of a library after fork (OpenCV's threads, a lock), or a
sample that takes too long.

## Bad

```text
RuntimeError: DataLoader timed out after 30 seconds
```

## Good

```python
cv2.setNumThreads(0)
loader = DataLoader(data, num_workers=4, timeout=300)
```

## Fix

Try `num_workers=0` and time one `data[i]`; switch off threads inside workers (`cv2.setNumThreads(0)`), or raise
`timeout`.

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"DataLoader timed out after"),
)
