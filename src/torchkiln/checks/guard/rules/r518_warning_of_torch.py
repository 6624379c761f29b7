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

import sys
from pathlib import Path
from types import FrameType

from torchkiln.checks.guard import place
from torchkiln.checks.guard.watch import Watch

MOST = 10
COVERED = "Using a target size"
"""What R509 says better."""


class Check:
    """Passes on each warning once."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.told = 0

    def on_warning(self, text: str, category: type[Warning], file: str) -> None:
        if (
            not (_is_theirs(file) or _is_theirs(_raised_in()) or "torch" in text)
            or issubclass(category, DeprecationWarning | FutureWarning)
            or self.told >= MOST
            or COVERED in text
        ):
            return
        self.told += 1
        self.watch.found("R518", "WARN", " ".join(text.split())[:300], about=text[:80])


def _is_theirs(file: str) -> bool:
    return bool(set(Path(file).parts) & {"torch", "lightning", "pytorch_lightning", "torchmetrics"})


def _raised_in() -> str:
    """The file of the innermost frame that is not ours."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(place.OURS):
        frame = frame.f_back
    return frame.f_code.co_filename if frame is not None else ""
