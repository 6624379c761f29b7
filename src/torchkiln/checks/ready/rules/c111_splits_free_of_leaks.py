"""The splits are free of leaks.

## What

No sample, near copy or group stands in two splits, as far as the data checks look.

## Why

A test that was seen in training measures memory.

## Bad

```text
duplicates_across_splits: 12 test rows are in train too
```

## Good

```text
split stratified: 217 train, 38 val, 45 test
```

## Fix

Remove the copies, or split by group (`data.split: {by: group, group: COLUMN}`).

## How sure

90 %.
"""

from __future__ import annotations

from torchkiln.checks.ready.material import Answer, Material, failed, passed, spared

LEAKS = ("duplicates_across_splits", "near_duplicates_across_splits", "groups_across_splits")


def check(run: Material) -> Answer:
    """By the findings on the data in events.jsonl."""
    found = {one.get("code"): one for one in run.events if one.get("kind") == "finding"}
    for code in LEAKS:
        if code in found and found[code].get("level") != "note":
            return failed(f"{code}: {found[code].get('text')}")
    if "split" not in found:
        return spared("the splits are your own data sets, which are not looked into")
    return passed(f"{found['split'].get('text')}; no copies across splits were found")
