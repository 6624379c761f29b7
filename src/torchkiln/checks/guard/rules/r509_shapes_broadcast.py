"""Predictions and targets are broadcast against each other.

## What

A loss is computed from predictions of shape [B, 1] and targets of shape [B], or other shapes that together make more
elements than either has: each prediction is compared with every target.

## Why

The model learns to give the mean of the targets for every sample; the loss falls a little and stays.

## Bad

```python
net = nn.Linear(8, 1)
optimizer = optim.SGD(net.parameters(), lr=0.1)
for x, y in loader:
    optimizer.zero_grad()
    loss = ((net(x) - y.float()) ** 2).mean()
    loss.backward()
    optimizer.step()
```

## Good

```python
net = nn.Linear(8, 1)
optimizer = optim.SGD(net.parameters(), lr=0.1)
for x, y in loader:
    optimizer.zero_grad()
    loss = ((net(x).squeeze(1) - y.float()) ** 2).mean()
    loss.backward()
    optimizer.step()
```

## Fix

Give both the same shape: `model(x).squeeze(1)`, or `y.unsqueeze(1)`.

## How sure

98 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchkiln.checks.guard import graph
from torchkiln.checks.guard.watch import Loss, Watch

BY_ELEMENT = (
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
)
REDUCING = ("Mean", "Sum", "Pow", "Abs", "Mul", "Div", "Sqrt", "Add")


class Check:
    """Looks at the shapes that losses are given, and at the graphs of the first losses."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_loss(self, loss: Loss) -> None:
        if loss.name not in BY_ELEMENT or loss.input.shape == loss.target.shape:
            return
        try:
            size = math.prod(torch.broadcast_shapes(loss.input.shape, loss.target.shape))  # type: ignore[no-untyped-call]
        except RuntimeError:
            return
        if size > max(loss.input.numel(), loss.target.numel()):
            self._tell(loss.input.shape, loss.target.shape, f"{loss.name} ")

    def on_backward(self, root: Tensor, given: dict[str, Any]) -> None:
        if self.watch.step >= 2 or self.watch.last is None:
            return
        first = self.watch.last.first
        batch = first.shape[0] if first is not None and first.ndim else 0
        for node in graph.chain(root):
            if node.name().startswith(("SubBackward", "RsubBackward")):
                self._difference(node, batch)
                return
            if not node.name().startswith(REDUCING):
                return

    def _difference(self, node: Any, batch: int) -> None:
        """Of a prediction and something without a graph, from which the loss was made by hand."""
        with_graph = [below for below, _ in node.next_functions if below is not None]
        made = graph.shape(node)
        if made is None or len(with_graph) != 1 or batch < 2:
            return
        given = graph.shape(with_graph[0])
        if made == (batch, batch) and given in ((batch, 1), (batch,)):
            self._tell(given, (batch,) if given == (batch, 1) else (batch, 1), "a difference ")

    def _tell(self, left: Sequence[int], right: Sequence[int], what: str) -> None:
        text = (f"{what}of predictions {list(left)} and targets {list(right)} is "
            "computed over all pairs of them: the shapes are "
                "broadcast")  # fmt: skip
        self.watch.found("R509", "FAIL", text)
