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
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from torchkiln.checks.guard import place
from torchkiln.checks.guard.known import Call
from torchkiln.checks.guard.watch import Watch

SCORE = re.compile(r"acc|score|correct|metric|prec|recall|history|right")
NUMBER = re.compile(r"(?<![\w.])\d+\.\d+")


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

    def on_print(self, values: Sequence[Any]) -> None:
        """A score is often said where it was made, and kept nowhere."""
        if len(self.hits) < 2:
            return
        text = " ".join(str(v) for v in values if isinstance(v, str | float))
        if SCORE.search(text.lower()):
            for found in NUMBER.findall(text):
                digits = len(found.partition(".")[2])
                self._judge("what is printed as a score", float(found), 0.5 * 10**-digits)

    def _settle(self) -> None:
        """Look at the numbers that the program holds after an evaluation."""
        if len(self.hits) > 1:
            for name, value in _numbers():
                if SCORE.search(name.lower()):
                    self._judge(name, value, 1e-12 * max(1.0, abs(value)))
        self.hits = []
        self.evaluations += 1

    def _judge(self, name: str, value: float, within: float) -> None:
        """Compare a number with what comes of the hits in the wrong ways.

        Args:
            name: What it is called.
            value: It.
            within: Half of what its last digit may hide.
        """
        batches, samples, total = len(self.hits), sum(n for _, n in self.hits), sum(h for h, _ in self.hits)
        right, by_batches = total / samples, total / batches
        means = sum(h / n for h, n in self.hits) / batches

        def equals(wanted: float) -> bool:
            return any(abs(value - f * wanted) <= within for f in (1, 100))

        if equals(right):
            return
        if by_batches > 1 and equals(by_batches):
            text = f"{name} is {value:.4g}: {total:.0f} hits divided by {batches} batches, where {right:.4g} of "
            self.watch.found("R525", "FAIL", f"{text}{samples} samples are right", about="range")
        elif abs(means - right) > 1e-9 and equals(means):
            text = f"{name} is {value:.6g}, a mean over {batches} batches of different size, where {right:.6g} of "
            self.watch.found("R525", "WARN", f"{text}{samples} samples are right", about="means")


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
