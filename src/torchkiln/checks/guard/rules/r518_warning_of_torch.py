"""torch or Lightning warns.

## What

A warning that torch or Lightning shows while the program runs.

## Why

Warnings scroll by; many of them name an error that stays silent otherwise.

## Bad

```python
import warnings
for x, y in loader:
    optimizer.zero_grad()
    scores = F.softmax(model(x))
    F.nll_loss(scores.log(), y).backward()
    optimizer.step()
```

## Good

```python
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Fix

Do as the warning says.

## How sure

60 %: what it means for this program is not known, so it is a WARN.
"""

from __future__ import annotations

from pathlib import Path

from torchkiln.checks.guard.watch import Watch

MOST = 10

class Check:
    """Passes on each warning once."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.told = 0

    def on_warning(self, text: str, category: type[Warning], file: str) -> None:
        parts = set(Path(file).parts)
        theirs = bool(parts & {"torch", "lightning", "pytorch_lightning", "torchmetrics"}) or "torch" in text
        if not theirs or issubclass(category, DeprecationWarning | FutureWarning) or self.told >= MOST:
            return
        self.told += 1
        self.watch.found("R518", "WARN", " ".join(text.split())[:300], about=text[:80])
