"""A training loop waits for the device at each step.

## What

`.item()`, `.cpu()`, `.tolist()` or a print of a tensor in every turn of a training loop that may run on CUDA.

## Why

The program waits until the device has done all that was asked of it; no work is queued meanwhile, and small models
lose much of their speed.

## Bad

```python
import torch

device = torch.device("cuda")
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x.to(device)), y.to(device))
    loss.backward()
    optimizer.step()
    running += loss.item()
```

## Good

```python
import torch

device = torch.device("cuda")
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x.to(device)), y.to(device))
    loss.backward()
    optimizer.step()
    running += loss.detach()
```

## Fix

Add up detached tensors on the device, and read them every n steps or once an epoch.

## How sure

85 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint import names
from torchkiln.checks.lint.events import Event
from torchkiln.checks.lint.source import Function, dotted
from torchkiln.checks.lint.view import Found, View

WAITING = ("item", "cpu", "tolist", "numpy")


def check(view: View) -> Iterator[Found]:
    """One finding for each loop: the first place that waits."""
    for region in view.regions:
        backs = region.of("backward")
        if region.loop is None or not backs or "cuda" not in region.loop.frame.function.source.text:
            continue
        for function in dict.fromkeys(e.function for e in region.events):
            inside = function is region.loop.frame.function
            found = _waiting(view, function, backs[0], region.loop.node if inside else None)
            if found is not None:
                yield Found(found, function.source, "the loop waits for the device at every step")
                break


def _waiting(view: View, function: Function, back: Event, loop: ast.AST | None) -> ast.Call | None:
    if loop is None and function is not back.function:
        return None
    for call in function.calls:
        above = list(function.source.above(call))
        if loop is not None and loop not in above:
            continue
        around = above[: above.index(loop)] if loop is not None else above
        if any(isinstance(one, ast.If) for one in around) or any(
            isinstance(a, ast.Lambda | ast.FunctionDef) and loop in above for a in around
        ):
            continue
        if _waits(call):
            return call
    return None


def _waits(call: ast.Call) -> bool:
    func = call.func
    if isinstance(func, ast.Attribute) and func.attr in WAITING and not call.args:
        return True
    if dotted(func) == "print":
        return any(
            isinstance(n, ast.Name) and names.LOSS_NAME.search(n.id) for a in call.args for n in ast.walk(a)
        ) and not any(isinstance(n, ast.Call) for a in call.args for n in ast.walk(a))
    return False
