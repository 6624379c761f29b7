"""A model trains in evaluation mode.

## What

`eval()` was called for a validation, and no `train()` after it: from then on steps are taken with dropout off and
with batch normalisation frozen.

## Why

Regularisation ends after the first validation, and the running statistics go stale while the weights move on.

## Bad

```python
model.train()
for epoch in range(3):
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
for epoch in range(3):
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

Call `model.train()` at the head of each epoch, or at the end of the evaluation.

## How sure

98 % after steps in training mode. A model that was in evaluation mode from its first step on is a WARN.
"""

from __future__ import annotations

from torch import nn

from torchkiln.checks.guard.known import Call, Stepping
from torchkiln.checks.guard.watch import Watch

RANDOM = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


class Check:
    """Looks at the mode of what each step trains."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.trained_so: set[int] = set()
        self.steps: dict[int, int] = {}

    def on_step(self, stepping: Stepping) -> None:
        for call in self.watch.calls[-1:]:
            module = call.model.ref()
            if module is None:
                continue
            if call.training:
                self.trained_so.add(id(call.model))
                self.steps.pop(id(call.model), None)
            else:
                self._in_eval(call, module)

    def _in_eval(self, call: Call, module: nn.Module) -> None:
        steps = self.steps[id(call.model)] = self.steps.get(id(call.model), 0) + 1
        if steps != 2:
            return
        layers = [f"{name} ({type(m).__name__})" for name, m in module.named_modules() if isinstance(m, RANDOM)]
        if layers:
            before = id(call.model) in self.trained_so
            since = "since an evaluation" if before else "from its first step on"
            text = f"{call.model.name} is trained in evaluation mode {since}: {', '.join(layers[:3])} are off or frozen"
            self.watch.found("R507", "FAIL" if before else "WARN", text)
