"""Dropout is active in evaluation.

## What

`F.dropout` is called without `training=self.training`, so that it drops values in evaluation mode too.

## Why

Every evaluation and every prediction is disturbed at random.

## Bad

```python
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.two(F.dropout(self.one(x).relu(), 0.5))


model = Net()
optimizer = optim.SGD(model.parameters(), lr=0.1)
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
model.eval()
with torch.no_grad():
    for x, y in val_loader:
        hits = (model(x).argmax(1) == y).sum()
```

## Good

```python
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.two(F.dropout(self.one(x).relu(), 0.5, training=self.training))


model = Net()
optimizer = optim.SGD(model.parameters(), lr=0.1)
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
model.eval()
with torch.no_grad():
    for x, y in val_loader:
        hits = (model(x).argmax(1) == y).sum()
```

## Fix

Give `training=self.training`, or use `nn.Dropout`.

## How sure

95 %. Where the same batch is evaluated several times in a row, sampling is meant, and nothing is said.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

from torchkiln.checks.guard import place
from torchkiln.checks.guard.known import Call, Stepping
from torchkiln.checks.guard.place import Place
from torchkiln.checks.guard.watch import Watch


class Check:
    """Looks at dropout inside models that are in evaluation mode."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.p: float | None = None
        self.at: Place | None = None
        self.last: tuple[int, Place | None, float] | None = None
        self.sampling = False

    def on_dropout(self, p: float, training: bool) -> None:
        running = self.watch.running
        if training and p > 0 and running is not None and not running.training and not _by_layer():
            self.p, self.at = p, place.here()

    def on_forward(self, call: Call) -> None:
        p, self.p = self.p, None
        if p is None:
            return
        first = call.first
        key = id(first) if first is not None else 0
        if self.last is not None and key == self.last[0]:
            self.sampling = True
        elif self.last is not None:
            self._tell()
        self.last = (key, self.at, p)

    def on_step(self, stepping: Stepping) -> None:
        if self.last is not None:
            self._tell()
            self.last = None

    def on_end(self) -> None:
        if self.last is not None:
            self._tell()

    def _tell(self) -> None:
        if self.last is not None and not self.sampling:
            text = f"F.dropout with p={self.last[2]:g} drops values while the model is in evaluation mode"
            self.watch.found("R522", "FAIL", text, at=self.last[1])


def _by_layer() -> bool:
    """Whether a dropout layer calls; one in training mode inside a model in evaluation mode is there on purpose."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(place.OURS):
        frame = frame.f_back
    return frame is not None and "/torch/nn/" in Path(frame.f_code.co_filename).as_posix()
