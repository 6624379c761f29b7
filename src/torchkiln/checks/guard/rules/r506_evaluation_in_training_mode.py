"""An evaluation runs in training mode.

## What

The trained model is evaluated without `eval()`: its dropout is active, and its batch normalisation goes by the
statistics of the batch at hand, and changes its own with held-out data.

## Why

The score depends on the batch size and on chance, and held-out data reaches the model's buffers.

## Bad

```python
for epoch in range(2):
    for x, y in loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        for x, y in val_loader:
            hits = (model(x).argmax(1) == y).sum()
```

## Good

```python
for epoch in range(2):
    model.train()
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

Call `model.eval()` before the evaluation, and `model.train()` before the next epoch.

## How sure

97 % where the code speaks of validation or test, or where a single optimizer has trained the model for some steps
without such a forward in between. Two optimizers, or forwards of the training data, are not spoken of or a WARN.
"""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor, nn

from torchkiln.checks.guard import place
from torchkiln.checks.guard.known import Call, Stepping, stochastic
from torchkiln.checks.guard.place import Place
from torchkiln.checks.guard.watch import Watch


class Check:
    """Looks at forwards without a backward of models that are trained."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.habits: set[int] = set()
        self.pending: tuple[Call, Place | None] | None = None
        self.loaders: weakref.WeakSet[Any] = weakref.WeakSet()

    def on_forward(self, call: Call) -> None:
        self._settle()
        module = call.model.ref()
        if not call.training or module is None or (call.grad and not self.watch.step):
            return
        layers = self._random_layers(call, module)
        if not layers:
            return
        named = place.speaks_of_held_out_data()
        if call.grad:
            if named and call.model.trained:
                self.pending = (call, place.here())
        elif call.model.trained < 2:
            self.habits.add(id(call.model))
        if not call.grad and call.model.trained:
            self._judge(call, layers, named)

    def _random_layers(self, call: Call, module: nn.Module) -> list[str]:
        layers = stochastic(module)
        owned = self.watch.owned() if layers else set()
        return layers if any(id(p) in owned for p in module.parameters()) else []

    def _judge(self, call: Call, layers: list[str], named: bool) -> None:
        loader = self.watch.loader() if self.watch.loader else None
        on_training_data = loader is not None and loader in self.loaders
        alone = id(call.model) not in self.habits and len(self.watch.living()) == 1 and not on_training_data
        if named or alone:
            self._tell(call, layers, "FAIL", place.here())

    def _tell(self, call: Call, layers: list[str], state: str, at: Place | None) -> None:
        mode = "" if call.model.was_in_eval else "; eval() was never in force at any of its forwards"
        text = (f"{call.model.name} is evaluated in training mode, with "
            f"{', '.join(layers[:3])} active, after {self.watch.step} "
                f"steps{mode}")  # fmt: skip
        self.watch.found("R506", state, text, at=at)

    def on_backward(self, root: Tensor, given: dict[str, Any]) -> None:
        self.pending = None

    def on_step(self, stepping: Stepping) -> None:
        if self.watch.loader is not None and (loader := self.watch.loader()) is not None:
            self.loaders.add(loader)

    def on_end(self) -> None:
        self._settle()

    def _settle(self) -> None:
        """A forward with gradients that no backward followed was an evaluation."""
        if self.pending is not None:
            (call, at), self.pending = self.pending, None
            module = call.model.ref()
            self._tell(call, stochastic(module) if module else [], "FAIL", at)
