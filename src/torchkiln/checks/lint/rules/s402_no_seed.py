"""A training is not seeded.

## What

A training loop, and neither its file nor those that it belongs to set a seed.

## Why

Two runs differ and none can be repeated: a change of the score may be the change of the code or chance.

## Bad

```python
import torch

for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Good

```python
import torch

torch.manual_seed(0)
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Fix

Call `torch.manual_seed(seed)` first, and seed numpy and random where they are used.

## How sure

85 %.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchkiln.checks.lint.view import Found, View

SEEDING = ("manual_seed", "seed_everything", "set_seed", "seed_all", "fix_seed", "setup_seed", "init_seed")


def check(view: View) -> Iterator[Found]:
    """One finding for each file."""
    seen = set()
    for region in view.regions:
        if region.loop is None or not region.of("step") or not region.of("backward"):
            continue
        source = region.trace.root.source
        inner = region.loop.frame.function.source
        if inner in seen or any(view.project.any_text(s, SEEDING) for s in (source, inner)):
            continue
        seen.add(inner)
        yield Found(region.loop.node, inner, "nothing sets a seed for this training")
