"""The loss is not finite.

## What

A backward pass starts from a loss that is NaN or infinite.

## Why

All gradients become NaN, and with the step all weights; nothing is learned from then on.

## Bad

```python
optimizer = optim.SGD(model.parameters(), lr=1e12)
net = nn.Linear(8, 3)
optimizer = optim.SGD(net.parameters(), lr=1e30)
for x, y in loader:
    optimizer.zero_grad()
    F.mse_loss(net(x), F.one_hot(y, 3).float()).backward()
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

Look where the message points: a batch with NaN, a logarithm or root of zero, a division by zero, or a learning rate
that is far too high.

## How sure

99 %.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from torchkiln.checks.guard import probe
from torchkiln.checks.guard.watch import Watch

LOOK_EVERY = 50
"""Backward passes between two looks where looking makes a device wait."""


class Check:
    """Looks at the value of the loss, and where it is not finite for what made it so."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.by_scale: tuple[int, Tensor] | None = None
        self.steps = 0

    def on_scale(self, scaler: Any, given: Any, done: Any) -> None:
        if isinstance(done, Tensor) and given and isinstance(given[0], Tensor):
            self.by_scale = (id(done), given[0].detach())

    def on_backward(self, root: Tensor, given: dict[str, Any]) -> None:
        self.steps += 1
        if not (self.watch.closely or root.device.type == "cpu" or self.steps % LOOK_EVERY == 0) or root.numel() != 1:
            return
        scaled, self.by_scale = self.by_scale, None
        value = scaled[1] if scaled is not None and scaled[0] == id(root) else root.detach()
        if value.numel() == 1 and not math.isfinite(float(value)):
            text = f"the loss is {float(value)} after {self.watch.step} steps: {self._cause()}"
            self.watch.found("R520", "FAIL", text)

    def _cause(self) -> str:
        call = self.watch.last
        module = call.model.ref() if call else None
        if call is None or module is None:
            return "what made it so is not known"
        bad = [name for name, p in module.named_parameters() if not bool(torch.isfinite(p).all())]
        if bad:
            at = "before the first step" if not self.watch.step else f"by step {self.watch.step - 1} or earlier"
            return (
                f"the weights {bad[0]} and {len(bad) - 1} more were not finite {at}; "
                "a learning rate that is too high does this"
            )
        inputs = [x for ref in call.inputs if (x := ref()) is not None]
        for x in inputs:
            if x.is_floating_point() and not bool(torch.isfinite(x).all()):
                samples = (~torch.isfinite(x.reshape(len(x), -1)).all(1)).nonzero().flatten().tolist()
                return f"the batch has values that are not finite, in its samples {samples[:5]}"
        output = call.output() if call.output else None
        if output is not None and bool(torch.isfinite(output).all()):
            return "the batch and what the model gives are finite, so that the loss itself made it so"
        first = probe.first_not_finite(module, inputs)
        return (
            f"the layer {first} is the first to give such values, on a batch that is finite"
            if first
            else "the model made it so"
        )
