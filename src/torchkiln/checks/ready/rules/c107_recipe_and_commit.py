"""Recipe and commit are pinned.

## What

The whole recipe is kept, and the code that ran is a commit without changes.

## Why

What cannot be found again cannot be mended.

## Bad

```text
commit 3f2a91c, with changes that were not committed
```

## Good

```text
commit 3f2a91c
```

## Fix

Commit your code and run again.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.ready.material import Answer, Material, failed, passed


def check(run: Material) -> Answer:
    """By recipe.yaml and environment.json."""
    git = run.environment.get("git") or {}
    ours = f"torchkiln {(run.environment.get('packages') or {}).get('torchkiln', 'of an unknown version')}"
    if git.get("commit") and not git.get("changed"):
        return passed(f"recipe.yaml, commit {git['commit'][:12]}, {ours}")
    command = f"git commit, then: torchkiln fit {run.path}/recipe.yaml"
    if git.get("commit"):
        return failed(f"commit {git['commit'][:12]} had changes that were not committed", command)
    if run.class_paths or run.recipe.task == "custom":
        return failed("the run has code of your own and was started outside of a git checkout", command)
    return passed(f"recipe.yaml and {ours}; no code of its own")
