"""A loop by hand in a project that uses Lightning.

## What

A file trains with a loop of its own, and it or a file that it belongs to uses Lightning.

## Why

Devices, precision, checkpoints and logging are then done twice and in two ways.

## Bad

```python
import lightning.pytorch as pl

for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Good

```python
import lightning.pytorch as pl

trainer = pl.Trainer(max_epochs=5)
trainer.fit(module, loader)
```

## Fix

Move the loop's body into a `training_step`.

## How sure

80 %.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchkiln.checks.lint.view import Found, View

LIGHTNING = ("lightning.", "pytorch_lightning")


def check(view: View) -> Iterator[Found]:
    """One finding for each loop."""
    seen = set()
    for region in view.regions:
        if region.loop is None or not region.of("step") or not region.of("backward"):
            continue
        function = region.loop.frame.function
        near = view.project.related(function.source)
        known = any(v == "lightning" or v.startswith(LIGHTNING) for s in near for v in s.imports.values())
        if known and region.loop.node not in seen and not view.project.is_lightning(view.project.home(function)):
            seen.add(region.loop.node)
            yield Found(region.loop.node, function.source, "a loop by hand in a project that uses Lightning")
