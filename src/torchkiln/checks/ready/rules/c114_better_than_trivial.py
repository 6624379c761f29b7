"""Better than the trivial baseline by more than the interval.

## What

The whole 95 % interval of the difference to the trivial baseline lies on the better side.

## Why

A score beside nothing says nothing.

## Bad

```text
majority class 0.94, this run +0.01 (-0.01 to +0.03)
```

## Good

```text
majority class 0.51, this run +0.44 (+0.29 to +0.60)
```

## Fix

More data, other features or another model; look at the report's mistakes first.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.ready.material import Answer, Material, failed, passed, spared


def check(run: Material) -> Answer:
    """By test.json."""
    if not run.test:
        return failed("the run was not tested", f"torchkiln test {run.path}")
    beats = (run.test.get("verdict") or {}).get("beats_trivial")
    first = (run.test.get("baselines") or [{}])[0]
    gap = first.get("difference") or {}
    said = str((run.test.get("verdict") or {}).get("text") or "")
    if beats is None:
        return spared("there is no trivial baseline for this task")
    if gap.get("low") is not None:
        gain = f"{gap.get('metric')}: {gap['value']:+.3g} over {first.get('name')}"
        said = f"{gain}, 95 % interval {gap['low']:+.3g} to {gap['high']:+.3g}"
    return passed(said) if beats else failed(said)
