"""Lint finds nothing of E and W in your own code.

## What

The files of the recipe's class paths have no certain and no likely bug.

## Why

Silent bugs train to the end.

## Bad

```python
loss.backward()
optimizer.zero_grad()
optimizer.step()
```

## Good

```python
optimizer.zero_grad()
loss.backward()
optimizer.step()
```

## Fix

Mend what `torchkiln lint` names, or give a reason beside `# torchkiln: ignore[ID]`.

## How sure

93 %.
"""

from __future__ import annotations

from torchkiln.checks.ready.material import Answer, Material, failed, passed, spared
from torchkiln.checks.ready.measured import linted


def check(run: Material) -> Answer:
    """By lint, of which nothing is imported."""
    if not run.class_paths and run.recipe.task != "custom":
        return spared("the run has no code of its own")
    found, missing = linted(run, ("E", "W"))
    if found:
        first = found[0]
        return failed(f"{len(found)} findings, the first in {first.file}:{first.line}: {first.rule} {first.title}",
                      f"torchkiln lint {first.file}")  # fmt: skip
    if missing or not run.class_paths:
        return failed(f"the code of {', '.join(missing) or 'this run'} is not here to be read", "torchkiln lint PATH")
    return passed(f"{', '.join(str(file) for file in run.own_files.values())}: nothing found")
