"""The version to go back to is known.

## What

The run or bundle that served before is named, and is whole.

## Why

The way back is needed when there is no time to look for it.

## Bad

```text
nothing was named
```

## Good

```text
torchkiln ready runs/new --rollback runs/old
```

## Fix

Name it: `torchkiln ready RUN --rollback RUN_OR_BUNDLE`.

## How sure

97 %.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from torchkiln.checks.ready.material import Answer, Material, failed, passed
from torchkiln.errors import RunError


def check(run: Material) -> Answer:
    """By the path that was named, which must hold a bundle or a run with whole weights."""
    command = f"torchkiln ready {run.path} --rollback RUN_OR_BUNDLE"
    named = run.notes.get("rollback")
    if not named:
        return failed("none was named", command)
    manifest = Path(named) / "manifest.json"
    if manifest.is_file():
        return passed(f"{named}, manifest SHA-256 {hashlib.sha256(manifest.read_bytes()).hexdigest()[:16]}...")
    try:
        before = Material(named)
    except RunError as error:
        return failed(str(error), command)
    if before.path.resolve() == run.path.resolve() or not before.checked["complete"]:
        return failed(f"{named} is this run, or holds no whole weights", command)
    return passed(f"{named}, best weights of step {before.checked['best']}")
