"""A metric is computed wrongly.

## What

Predictions of shape [B, 1] are compared with targets of shape [B], so that all pairs are; the largest of a single
column is taken; or a score is a count divided by batches, or a mean over batches of different size.

## Why

The number that models are chosen by is not what it is called.

## Bad

```python
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
model.eval()
hits, total = 0, 0
with torch.no_grad():
    for x, y in val_loader:
        predicted = model(x).argmax(1, keepdim=True)
        hits += (predicted == y).sum().item()
        total += len(y)
```

## Good

```python
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
model.eval()
hits, total = 0, 0
with torch.no_grad():
    for x, y in val_loader:
        predicted = model(x).argmax(1)
        hits += (predicted == y).sum().item()
        total += len(y)
```

## Fix

Compare tensors of one shape; divide the sum of hits by the number of samples; for one column use a threshold.

## How sure

97 % for shapes and columns, and where a variable holds exactly the hits divided by the batches; a mean of batch means
is a WARN.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import torch
from torch import Tensor

from torchkiln.checks.guard import place
from torchkiln.checks.guard.known import Call
from torchkiln.checks.guard.watch import Watch

SCORE = re.compile(r"acc|score|correct|metric|prec|recall|history|right")


class Check:
    """Follows comparisons of predictions with targets through the first evaluations."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.hits: list[tuple[float, int]] = []
        self.evaluations = 0
        self.output: tuple[int, ...] = ()

    def on_forward(self, call: Call) -> None:
        evaluates = not call.grad or not call.training
        output = call.output() if call.output else None
        self.output = tuple(output.shape) if output is not None else ()
        if not evaluates and self.hits:
            self._settle()

    def on_compare(self, left: Tensor, right: Tensor, result: Tensor) -> None:
        size = self.output[0] if self.output else 0
        if size < 2:
            return
        shapes = (tuple(left.shape), tuple(right.shape))
        if set(shapes) == {(size, 1), (size,)} and tuple(result.shape) == (size, size):
            if left.data_ptr() != right.data_ptr() and not _counts(left) and not _counts(right):
                text = (
                    f"predictions {list(shapes[0])} and targets {list(shapes[1])} are compared "
                    f"in all pairs, {size * size} for {size} samples"
                )
                self.watch.found("R525", "FAIL", text)
        elif shapes[0] == shapes[1] == (size,) and self.evaluations < 3 and not torch.is_grad_enabled():
            self.hits.append((float(result.sum()), size))

    def on_argmax(self, tensor: Tensor, dim: int) -> None:
        if tensor.ndim == 2 and tuple(tensor.shape) == self.output and tensor.shape[dim] == 1 and tensor.shape[0] > 1:
            self.watch.found(
                "R525", "FAIL", f"the largest of a single column of {list(tensor.shape)} is taken: it is always class 0"
            )

    def on_end(self) -> None:
        self._settle()

    def _settle(self) -> None:
        """Look at the numbers that the program holds after an evaluation."""
        hits, self.hits = self.hits, []
        self.evaluations += 1
        samples, total = sum(n for _, n in hits), sum(h for h, _ in hits)
        if len(hits) < 2 or not total:
            return
        right, by_batches = total / samples, total / len(hits)
        means = sum(h / n for h, n in hits) / len(hits)
        for name, value in _numbers():
            if not SCORE.search(name.lower()):
                continue
            if by_batches > 1 and value in (by_batches, 100 * by_batches):
                text = (
                    f"{name} is {value:.4g}: {total:.0f} hits divided by {len(hits)} batches, "
                    f"where {right:.4g} of {samples} samples are right"
                )
                self.watch.found("R525", "FAIL", text, about="range")
            elif abs(means - right) > 1e-9 and any(abs(value - f * means) < 1e-12 * f for f in (1, 100)):
                text = (
                    f"{name} is {value:.6g}, a mean over {len(hits)} batches of different "
                    f"size; {right:.6g} of {samples} samples are right"
                )
                self.watch.found("R525", "WARN", text, about="means")


def _counts(tensor: Tensor) -> bool:
    flat = tensor.flatten()
    return flat.dtype != torch.bool and torch.equal(flat, torch.arange(len(flat), dtype=flat.dtype, device=flat.device))


def _numbers() -> Iterator[tuple[str, float]]:
    """Names and values of numbers in the person's code that runs."""
    spaces = [frame.f_locals for frame in place.frames()] or [vars(sys.modules["__main__"])]
    for space in spaces:
        for name, value in list(space.items()):
            last = value[-1] if isinstance(value, list) and value else value
            if isinstance(last, torch.Tensor) and last.numel() == 1 and not last.requires_grad:
                last = float(last)
            if isinstance(last, float):
                yield name, last
