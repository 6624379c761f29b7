"""Resume is proven.

## What

A copy of the run that lost its last checkpoint and was resumed ended with the same bytes.

## Why

A resume that differs is found on the day it is needed.

## Bad

```text
nothing was resumed
```

## Good

```text
metrics, scores and best weights are equal byte for byte
```

## Fix

Resume a copy and compare: the command below does it.

## How sure

99 %.
"""

from __future__ import annotations

from torchkiln.checks.ready.material import Answer, Material, failed, passed
from torchkiln.errors import RunError


def check(run: Material) -> Answer:
    """By a run that was named with --resumed: its metrics.csv, test.json and best weights against this one's."""
    last = run.last_step()
    copy, step = f"{run.path}-resumed", last.name if last else "step-*"
    command = (
        f"cp -r {run.path} {copy} && rm -r {copy}/checkpoints/{step} {copy}/stages.json && torchkiln fit --resume "
        f"{copy} && torchkiln ready {run.path} --resumed {copy}"
    )
    named = run.notes.get("resumed")
    if not named:
        whole = "its last checkpoint is whole" if run.checked["ok"] else "no checkpoint is whole"
        return failed(f"no resumed copy was compared; {whole}", command)
    try:
        other = Material(named)
        same = other.result_digest() == run.result_digest()
    except RunError as error:
        return failed(str(error), command)
    if other.environment.get("train_seconds") == run.environment.get("train_seconds"):
        return failed(f"{named} did not train since it was copied, or is this run itself", command)
    if not same:
        return failed(f"{named} ended with other metrics, scores or weights", command)
    return passed(f"{named}: metrics, scores and best weights are equal byte for byte")
