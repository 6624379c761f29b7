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
    found = [one for one in run.events if one.get("kind") == "guard"]
    tried = next((one["checks"] for one in found if isinstance(one.get("checks"), dict)), None)
    again = f"torchkiln fit {run.path}/recipe.yaml"
    told = [one for one in found if one.get("rule")]
    wrong = [one for one in told if one.get("state") == "FAIL"]
    if wrong:
        return failed(f"{len(wrong)} wrong, the first: {wrong[0].get('text')}", again)
    if tried is None:
        return failed("events.jsonl holds no preflight", again)
    return passed(f"{list(tried.values()).count('PASS')} of {len(tried)} checks of the first batch passed, "
                  f"none failed; {len(told)} warnings while it trained")  # fmt: skip
