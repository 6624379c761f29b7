"""The graph is cut on the way to the loss.

## What

What `backward()` is called on, or what a `training_step` returns, has passed through `.item()`, `.detach()`,
`.data`, `.numpy()`, a new `torch.tensor(...)`, an `argmax`, or a forward pass under `no_grad`.

## Why

No gradient comes back to the parameters. torch complains, or, where the result was given `requires_grad=True`,
says nothing and learns nothing.

## Bad

```python
import torch

for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss = torch.tensor(loss.item(), requires_grad=True)
    loss.backward()
    optimizer.step()
```

## Good

```python
import torch

for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    shown = loss.item()
```

## Fix

Keep the tensor as the model and the loss gave it; detach a second name for what is only shown.

## How sure

95 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.rules.e110_activation_before_loss import frames
from torchkiln.checks.lint.source import Function, dotted
from torchkiln.checks.lint.values import Frame
from torchkiln.checks.lint.view import Found, View


def check(view: View) -> Iterator[Found]:
    """One finding for each place where a loss is cut off."""
    for call, owner, function in view.methods("backward", "manual_backward"):
        loss = _loss(call, owner)
        if loss is not None and dotted(loss) != "self":
            for frame in frames(view, function):
                yield from _cut(view, loss, frame)
    for one in view.classes:
        step = one.methods.get("training_step") if view.project.is_lightning(one) else None
        if step is not None and not any(_manual(c) for c in step.calls):
            for given in step.returns:
                yield from _cut(view, _returned(given), view.values.frame(step))


def _loss(call: ast.Call, owner: ast.expr) -> ast.expr | None:
    """What gradients are asked of."""
    if isinstance(call.func, ast.Attribute) and call.func.attr == "manual_backward":
        return call.args[0] if call.args else None
    if isinstance(owner, ast.Call) and isinstance(owner.func, ast.Attribute) and owner.func.attr == "scale":
        return owner.args[0] if owner.args else None
    return owner


def _manual(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr in ("manual_backward", "backward")


def _returned(given: ast.expr) -> ast.expr:
    if isinstance(given, ast.Dict):
        for key, value in zip(given.keys, given.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "loss":
                return value
    return given


def _cut(view: View, loss: ast.expr, frame: Frame) -> Iterator[Found]:
    found = view.gradients.of(loss, frame)
    if found.node is None or found.function is None or found.state not in ("cut", "off"):
        return
    if found.state == "off" and not _likely(loss, frame.function):
        return
    how = _how(found.node, found.function)
    yield Found(
        found.node, found.function.source, f"{how} cuts the loss off from the parameters, and backward() follows"
    )


def _likely(loss: ast.expr, function: Function) -> bool:
    """Whether what was cut is a loss by its name."""
    return "loss" in dotted(loss).lower() and function is not None


def _how(node: ast.AST, function: Function) -> str:
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and not function.source.called(node).startswith("torch."):
            return f".{node.func.attr}()" if node.func.attr != "forward" else "no_grad"
        full = function.source.called(node)
        return full if full.startswith("torch.tensor") else f"{dotted(node.func) or 'this call'} under no_grad" if (
            not full.startswith(("torch.", "float", "int", "numpy"))) else full  # fmt: skip
    return (
        ".data" if isinstance(node, ast.Attribute) else "a comparison" if isinstance(node, ast.Compare) else "no_grad"
    )
