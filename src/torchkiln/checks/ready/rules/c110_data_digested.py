"""The data is digested.

## What

A digest of all data files stands in the run.

## Why

Without it nobody can say later what was trained on.

## Bad

```text
data_digest: null
```

## Good

```text
data_digest: 18c1a939...
```

## Fix

Train from files by a recipe; of your own data sets keep a digest and waive this item with it as the reason.

## How sure

98 %.
"""

from __future__ import annotations

from torchkiln.checks.ready.material import Answer, Material, failed, passed


def check(run: Material) -> Answer:
    """By environment.json and files.parquet."""
    digest = run.environment.get("data_digest")
    if not digest:
        return failed("environment.json holds no digest of the data")
    files = "; files.parquet names each file" if (run.path / "files.parquet").is_file() else ""
    return passed(f"SHA-256 {str(digest)[:16]}...{files}")
