"""Parameters that get gradients are in no optimizer.

## What

A backward pass gives gradients to parameters that no optimizer holds and that nothing else changes: the optimizer was
built before a layer or the whole model was replaced, took the wrong parameters, or the layers stand in a plain list.

## Why

They stay as they were drawn. The rest of the model learns around them, so that the loss still falls.

## Bad

```python
optimizer = optim.SGD(model.parameters(), lr=0.1)
model[-1] = nn.Linear(16, 3)
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Good

```python
model[-1] = nn.Linear(16, 3)
optimizer = optim.SGD(model.parameters(), lr=0.1)
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Fix

Build the optimizer last, from `model.parameters()`, when every layer is in its place; keep layers in `nn.ModuleList`
and parameters in `nn.ParameterList`. Set `requires_grad` to False for what is not to be trained.

## How sure

98 % where the optimizer holds parameters that no model uses any more, where a layer is registered nowhere, or where
layers nearer to the loss than all trained ones are left out. Other parameters that get gradients in vain are a WARN.
"""

from __future__ import annotations

from torch import Tensor, nn

from torchkiln.checks.guard.known import Model, Stepping, names
from torchkiln.checks.guard.watch import Watch


class Check:
    """Looks at the first two steps of each optimizer."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.versions: dict[int, int] = {}

    def on_step(self, stepping: Stepping) -> None:
        if stepping.steps > 1 or stepping.ref() is None:
            return
        owned = self.watch.owned()
        left = {
            i: p
            for i, p in self.watch.leaves.items()
            if isinstance(p, nn.Parameter) and i not in owned and p.grad is not None
        }
        if stepping.steps == 0:
            self.versions |= {i: p._version for i, p in left.items()}
            return
        outside: list[Tensor] = [p for i, p in left.items() if self.versions.get(i) == p._version]
        if outside and len({id(p) for p in stepping.parameters} & owned):
            self._judge(stepping, outside, owned)

    def _judge(self, stepping: Stepping, outside: list[Tensor], owned: set[int]) -> None:
        models = [m for call in self.watch.calls if (m := call.model.ref()) is not None]
        inside = {id(p) for model in models for p in model.parameters()}
        said = next((names(m, outside) for m in models if any(p is outside[0] for p in m.parameters())), None)
        said = said or names(None, outside)
        gone = [p for p in stepping.parameters if p.grad is None and p.requires_grad and id(p) not in self._known()]
        if gone and len(self.watch.living()) == 1:
            text = (f"{stepping.name} holds {len(gone)} parameters that no model uses (the first of shape "
                    f"{list(gone[0].shape)}), while {said} get gradients and are in no optimizer: the model or a part "
                    "of it was replaced after the optimizer was built")  # fmt: skip
            self.watch.found("R501", "FAIL", text)
        elif hidden := [p for p in outside if id(p) not in inside]:
            text = (f"{names(None, hidden)} get gradients, but belong to no module "
                "that is registered, as in a plain list or "
                    "dict, and are in no optimizer")  # fmt: skip
            self.watch.found("R501", "FAIL", text)
        else:
            sure = any(self._ends_outside(call.model, owned) for call in self.watch.calls)
            text = f"{said} get gradients, but are in no optimizer, and nothing else changes them"
            self.watch.found("R501", "FAIL" if sure else "WARN", text)

    def _known(self) -> set[int]:
        """Ids of the parameters of all modules that were called."""
        living = [m for known in self.watch.models.values() if (m := known.ref()) is not None]
        return {id(p) for m in living for p in m.parameters()}

    def _ends_outside(self, model: Model, owned: set[int]) -> bool:
        """Whether of a model in training mode the layers called last are in no optimizer, and others are."""
        module = model.ref()
        if module is None or not module.training:
            return False
        order = [layer for ref in model.inner.values() if (layer := ref()) is not None]
        is_owned = [id(p) in owned for layer in order for p in layer.parameters(recurse=False) if p.requires_grad]
        return any(is_owned) and not is_owned[-1]
