"""The preflight is clean.

## What

What guard tried on one batch, and what it watched while the run trained, found nothing wrong.

## Why

A model that mixes samples, or does not learn one batch, is wrong before it is trained.

## Bad

```text
FAIL: a parameter gets no gradient
```

## Good

```text
preflight: PASS
```

## Fix

Mend what the events name, and train again.

## How sure

90 %.
"""

from __future__ import annotations

from torchkiln.checks.ready.material import Answer, Material, failed, passed


def check(run: Material) -> Answer:
    """By guard's findings in events.jsonl."""
    found = [one for one in run.events if str(one.get("rule") or "").startswith("R") or one.get("kind") == "preflight"]
    again = f"torchkiln fit {run.path}/recipe.yaml"
    if not found:
        return failed("events.jsonl holds no preflight", again)
    wrong = [one for one in found if one.get("state") == "FAIL"]
    if wrong:
        return failed(
            f"{len(wrong)} wrong, the first: {wrong[0].get('rule')} {wrong[0].get('text') or ''}".rstrip(), again
        )
    warned = sum(one.get("state") == "WARN" for one in found)
    return passed(f"{len(found)} findings, none FAIL, {warned} WARN")
