"""Inputs and targets are of different samples.

## What

Inputs were put in a new order, or picked by an index, and the targets that they are trained with were not, or by
another; or the targets of a sequence model are its inputs, not shifted by one.

## Why

The labels are noise: the model learns the frequencies of the classes, or to copy.

## Bad

```python
X, Y = make(64)
X = X[torch.randperm(64)]
for i in range(0, 64, 8):
    optimizer.zero_grad()
    criterion(model(X[i : i + 8]), Y[i : i + 8]).backward()
    optimizer.step()
```

## Good

```python
X, Y = make(64)
order = torch.randperm(64)
X, Y = X[order], Y[order]
for i in range(0, 64, 8):
    optimizer.zero_grad()
    criterion(model(X[i : i + 8]), Y[i : i + 8]).backward()
    optimizer.step()
```

## Fix

Use one index for both: `x[index], y[index]`.

## How sure

96 %. Targets that equal the inputs are a WARN, since a model may be meant to give back what it is given.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from torchkiln.checks.guard.watch import Loss, Watch

MOST = 4096
"""Results that are remembered, and entries of an index that are compared."""


class Check:
    """Remembers which tensors were made by which index, while they are there."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.made: dict[int, tuple[weakref.ref[Tensor], int, int]] = {}
        """Result of an index to (itself, a number for the index, rows of what was indexed)."""

    def on_index(self, source: Tensor, index: Tensor, result: Tensor) -> None:
        if index.ndim != 1 or index.dtype != torch.int64 or not self.watch.closely or len(index) < 2:
            return
        if len(self.made) > MOST:
            self.made = {k: v for k, v in self.made.items() if v[0]() is not None}
        key = hash(tuple(index[:MOST].tolist()))
        self.made[id(result)] = (weakref.ref(result), key, len(source))

    def on_epoch(self, loader: Any) -> None:
        parts = getattr(loader.dataset, "tensors", ())
        if isinstance(loader.dataset, TensorDataset) and len(parts) > 1 and torch.is_grad_enabled():
            self._compare(parts[0], parts[1], 0)

    def on_loss(self, loss: Loss) -> None:
        call = self.watch.last
        if self.watch.step > 2 or call is None or not loss.grad or not call.training or not call.alone:
            return
        x = call.first
        if x is None or not loss.target.ndim:
            return
        if x.shape[:1] == loss.target.shape[:1]:
            self._compare(x, loss.target, len(x))
        whole = (
            not x.is_floating_point()
            and x.ndim > 1
            and loss.name == "cross_entropy"
            and x.numel() == loss.target.numel()
        )
        if whole and x.shape[1] > 2 and torch.equal(x.flatten(), loss.target.flatten().to(x.dtype)):
            self.watch.found(
                "R531", "WARN", "the targets are the very tokens that the model is given, not those that follow"
            )

    def _compare(self, x: Tensor, y: Tensor, size: int) -> None:
        left, right = self._index(x), self._index(y)
        if left == right or (left is None and right is None):
            return
        one = left or right
        rows = one[1] if one is not None else 0
        other = y if left is not None else x
        total = len(other._base) if other._base is not None and other._base.ndim else len(other)
        if left is not None and right is not None and left[1] == right[1]:
            self._tell("were picked by two different indices")
        elif (left is None or right is None) and total == rows > size:
            self._tell(f"are of one order of {rows} samples, and one of them was put into another by an index")

    def _tell(self, how: str) -> None:
        self.watch.found("R531", "FAIL", f"inputs and targets {how}: they are not of the same samples")

    def _index(self, tensor: Tensor) -> tuple[int, int] | None:
        for one in (tensor, tensor._base):
            known = self.made.get(id(one)) if one is not None else None
            if known is not None and known[0]() is one:
                return known[1], known[2]
        return None
