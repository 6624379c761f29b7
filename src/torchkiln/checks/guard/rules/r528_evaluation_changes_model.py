"""An evaluation changes the model.

## What

Weights are not the same after an evaluation as before it, though no step of the training was taken: a step was copied
into the validation loop, or other weights were put in for it and not taken out.

## Why

The model trains on held-out data, or goes on from other weights than those it had.

## Bad

```python
def validate():
    model.eval()
    for x, y in val_loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()


for epoch in range(2):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
    validate()
```

## Good

```python
def validate():
    model.eval()
    with torch.no_grad():
        for x, y in val_loader:
            criterion(model(x), y)


for epoch in range(2):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
    validate()
```

## Fix

Take `backward()` and `step()` out of the validation; put averaged weights back after it.

## How sure

90 % for steps in a function that is named for validation, of a model that others train; else a WARN.
"""

from __future__ import annotations

import torch
from torch import nn

from torchkiln.checks.guard import place
from torchkiln.checks.guard.known import Call, Stepping
from torchkiln.checks.guard.watch import Watch


class Check:
    """Looks who takes steps, and compares weights before and after evaluations."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.trained_by: set[str] = set()
        self.before: dict[int, tuple[Call, float]] = {}
        self.compared = 0
        self.versions: dict[int, int] = {}
        """Of a model's first parameter after its last step: other weights that were put in since change it."""

    def on_step(self, stepping: Stepping) -> None:
        if self.before:
            self.before = {}
        self.versions |= {id(c.model): v for c in self.watch.calls[-1:] if (v := _version(c)) is not None}
        if self.watch.step >= 4 and not self.watch.calls[-1:]:
            return
        trains = not self.watch.calls or self.watch.calls[-1].training
        if trains and self.watch.step >= 4:
            return
        function = next((frame.f_code.co_name for frame in place.frames()), "")
        named = place.HELD_OUT.search(function.lower().replace("_", " ")) is not None
        if not named:
            self.trained_by.add(function)
        elif self.trained_by and not trains:
            text = (
                f"{stepping.name} takes steps in {function}(), which is named for an "
                "evaluation, with the model in evaluation mode"
            )
            self.watch.found("R528", "FAIL", text)

    def on_forward(self, call: Call) -> None:
        module = call.model.ref()
        if module is None or self.compared >= 3:
            return
        if call.grad and call.training:
            known = self.before.pop(id(call.model), None)
            if known is not None and known[0].step == call.step:
                self.compared += 1
                if _sum(module) != known[1]:
                    text = f"the weights of {call.model.name} are not the same after an evaluation as before it"
                    self.watch.found("R528", "WARN", text)
        elif not call.training and call.model.trained and id(call.model) not in self.before:
            if self.versions.get(id(call.model)) != _version(call):
                return
            self.before[id(call.model)] = (call, _sum(module))


def _version(call: Call) -> int | None:
    module = call.model.ref()
    first = next(module.parameters(), None) if module is not None else None
    return first._version if first is not None else None


def _sum(module: nn.Module) -> float:
    with torch.no_grad():
        return sum(float(p.double().sum()) for p in module.parameters())
