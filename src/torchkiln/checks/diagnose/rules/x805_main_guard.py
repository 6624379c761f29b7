"""A program that starts processes has no main guard.

## What

Under spawn each process imports the script, which starts processes again.

## Why

What starts workers stands at the top level and not under `if __name__ == "__main__":`.

## Bad

```text
RuntimeError:
        An attempt has been made to start a new process before the
        current process has finished its bootstrapping phase.
```

## Good

```python
if __name__ == "__main__":
    main()
```

## Fix

Put what the script does into a function and call it under `if __name__ == "__main__":`.

## How sure

99 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"An attempt has been made to start a new process before the current process has finished", weight=20),
    lines=(r"An attempt has been made to start a new process before",),
)
