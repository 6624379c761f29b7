"""No gradient reaches the parameters.

## What

The loss was rebuilt or detached on its way from the model to `backward()`, so that all or part of what the optimizer
holds gets no gradient, although it was part of the computation.

## Why

Nothing, or only the part behind the cut, is trained; no error is raised where `requires_grad` was set by hand.

## Bad

```python
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss = torch.tensor(loss.item(), requires_grad=True)
    loss.backward()
    optimizer.step()
```

## Good

```python
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
```

## Fix

Call `backward()` on the tensor that the loss function gave; use `.item()`, `.detach()`, `.data`, `.numpy()` and
`torch.tensor(...)` on copies for logs alone.

## How sure

99 % where nothing is reached. Where a part is not reached it is a WARN, since some cut the graph on purpose.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from torchkiln.checks.guard.known import Stepping, names
from torchkiln.checks.guard.watch import Watch


class Check:
    """Looks at where the graph of the loss ends, and at the first steps."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.missing: dict[int, set[int]] = {}

    def on_backward(self, root: Tensor, given: dict[str, Any]) -> None:
        if not self.watch.closely or not self.watch.optimizers or given.get("inputs") is not None:
            return
        if root.grad_fn is None and root.requires_grad and not isinstance(root, nn.Parameter):
            text = ("backward() is called on a tensor that was made anew with "
                "requires_grad: the graph of the model was cut "
                    "before it, and no parameter gets a gradient")  # fmt: skip
            self.watch.found("R502", "FAIL", text)

    def on_step(self, stepping: Stepping) -> None:
        if stepping.steps > 1:
            return
        parameters, leaves = stepping.parameters, self.watch.leaves
        if any(p.grad is not None for p in parameters):
            self._partly(stepping)
        elif (
            leaves
            and not stepping.lost
            and not any(isinstance(p, nn.Parameter) for p in leaves.values())
            and not ({id(p) for p in parameters} & set(leaves))
        ):
            shape = list(next(iter(leaves.values())).shape)
            text = (f"the graph behind the loss ends at a tensor of shape {shape} and "
                f"reaches no parameter of {stepping.name}: "
                    "what the model gave was detached and wrapped again")  # fmt: skip
            self.watch.found("R502", "FAIL", text)

    def _partly(self, stepping: Stepping) -> None:
        """Layers that took part with gradients on, and got none in two steps."""
        called = {
            id(p): p
            for call in self.watch.calls for ref in call.model.inner.values() if (layer := ref()) is not None
            for p in layer.parameters(recurse=False) if p.requires_grad
        }  # fmt: skip
        without = {i for i, p in called.items() if p.grad is None} & {id(p) for p in stepping.parameters}
        before = self.missing.setdefault(id(stepping), without)
        if stepping.steps == 1 and (both := before & without):
            models = [m for call in self.watch.calls if (m := call.model.ref()) is not None]
            shown = names(models[0] if models else None, [called[i] for i in both])
            text = f"{shown} took part in the forward pass and get no gradient: the graph is cut behind them"
            self.watch.found("R502", "WARN", text)
