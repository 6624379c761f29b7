"""The same samples come again and again.

## What

Each step is given the same batch, because a new iterator is made for each; the samples of a batch are all the same;
or several workers hand out the same samples; or a loader gives none.

## Why

The model fits a few samples, and the loss on them looks excellent.

## Bad

```python
loader = DataLoader(train_data, batch_size=8)
for step in range(20):
    x, y = next(iter(loader))
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Good

```python
loader = DataLoader(train_data, batch_size=8)
for epoch in range(2):
    for x, y in loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
```

## Fix

Loop over the loader, or keep one iterator; use the index in `__getitem__`; split an `IterableDataset` by
`torch.utils.data.get_worker_info()`.

## How sure

97 %.
"""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor
from torch.utils.data import IterableDataset

from torchkiln.checks.guard.known import Call, Stepping, content, tensors
from torchkiln.checks.guard.watch import Watch


class Check:
    """Compares the contents of the first batches."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.fresh = self.given = self.length = 0
        self.worker_keys: dict[int, tuple[int, int]] = {}
        self.ended: weakref.ref[Any] | None = None
        self.ended_at = -1
        self.seeds: list[tuple[Any, int]] = []
        self.keys: list[tuple[int, int]] = []
        self.now: int | None = None

    def on_epoch(self, loader: Any) -> None:
        self.fresh += 1
        self.given = 0

        if _length(loader) == 0 and hasattr(loader.dataset, "__len__"):
            text = (
                f"the loader gives no batch at all: {len(loader.dataset)} samples, "
                f"batches of {loader.batch_size}, the rest dropped"
            )
            self.watch.found("R510", "FAIL", text)

    def on_epoch_end(self, loader: Any, iterator: Any) -> None:
        self.given = -1
        if self.ended is not None and self.ended() is iterator and self.watch.step == self.ended_at:
            self.watch.found("R510", "WARN", "an iterator that was at its end is looped over again, and gives nothing")
        self.ended, self.ended_at = weakref.ref(iterator), self.watch.step

    def on_seed(self, seed: Any) -> None:
        if self.seeds and self.seeds[-1] == (seed, self.watch.step):
            return
        self.seeds.append((seed, self.watch.step))
        if len(self.seeds) == 4 and len({value for value, _ in self.seeds}) == 1:
            text = (
                f"torch.manual_seed({seed}) is called again and again while it "
                "trains: each round draws the same numbers"
            )
            self.watch.found("R510", "WARN", text)

    def on_batch(self, loader: Any, iterator: Any, batch: Any) -> None:
        if self.given < 0:
            return
        self.given += 1
        if self.given == 1:
            self.length = _length(loader)
        if self.given == 1 and self.fresh < 200:
            self._first(loader, tensors(batch, 2))
        workers = getattr(loader, "num_workers", 0)
        if workers > 1 and isinstance(loader.dataset, IterableDataset) and self.given <= workers:
            key = content(tensors(batch, 1))
            if key is not None and self.given > 1 and self.worker_keys.get(id(loader)) == (self.given - 1, key):
                text = f"{workers} workers of an IterableDataset hand out the same samples: each comes {workers} times"
                self.watch.found("R510", "FAIL", text)
            if key is not None:
                self.worker_keys[id(loader)] = (self.given, key)

    def _first(self, loader: Any, parts: list[Tensor]) -> None:
        """The first batch of an iterator."""
        if parts and parts[0].is_floating_point() and len(parts[0]) >= 4 and self.watch.step < 2:
            x = parts[0]
            others = len(parts) > 1 and parts[1].ndim and bool((parts[1] != parts[1][:1]).any())
            if others and bool((x == x[:1]).all()):
                text = f"all {len(x)} samples of a batch are the same, with targets that differ: the index is not used"
                self.watch.found("R510", "FAIL", text)

    def on_forward(self, call: Call) -> None:
        if self.watch.closely and call.grad and call.training and call.first is not None:
            self.now = content([call.first])

    def on_step(self, stepping: Stepping) -> None:
        if not self.watch.closely or self.now is None:
            return
        self.keys.append((self.now, self.fresh))
        if len(self.keys) < 2 or self.given != 1:
            return
        (before, fresh), (now, fresher) = self.keys[-2:]
        if self.length > 1 and now == before and fresher == fresh + 1 and len(self.watch.living()) == 1:
            text = (
                "two steps in a row are given the same batch, the first of a new "
                f"iterator, though the loader has {self.length}"
            )
            self.watch.found("R510", "FAIL", text)


def _length(loader: Any) -> int:
    """Batches of an epoch; 0 if the loader does not say."""
    try:
        return len(loader)
    except TypeError:
        return 0
