"""A running total keeps the graph of every batch.

## What

A loss that gradients flow through is added to a total, or put into a list, as a tensor.

## Why

The total holds on to the graphs and activations of all batches: memory grows step by step until it runs out.

## Bad

```python
total = 0
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    total += loss
```

## Good

```python
total = 0
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    total += loss.detach()
```

## Fix

Add `loss.detach()`, or `loss.item()` where a wait for the device does no harm.

## How sure

93 %. Silent where the total itself is gone back through.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.events import Event
from torchkiln.checks.lint.order import Region
from torchkiln.checks.lint.source import Function, dotted, inside
from torchkiln.checks.lint.view import Edit, Found, View, inserted

STOPS = {"item", "detach", "float", "cpu", "numpy", "tolist", "data", "int"}


def check(view: View) -> Iterator[Found]:
    """One finding for each total."""
    for region in view.regions:
        if region.loop is None:
            continue
        for back in region.of("backward"):
            loss = _loss(back)
            if loss and back.no_grad is False:
                yield from _kept(view, region, back, loss)


def _loss(back: Event) -> str:
    call = back.node
    assert isinstance(call, ast.Call)
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    if isinstance(owner, ast.Call) and owner.args:
        return dotted(owner.args[0])
    if isinstance(call.func, ast.Attribute) and call.func.attr == "manual_backward" and call.args:
        return dotted(call.args[0])
    return dotted(owner) if owner is not None else ""


def _kept(view: View, region: Region, back: Event, loss: str) -> Iterator[Found]:
    """Totals in the function of a backward, and in the functions that it hands the loss to or gives it back to."""
    function = back.function
    yield from _totals(view, function, loss)
    for call in function.calls:
        target = view.project.target(call, function)
        if isinstance(target, Function):
            params = target.params[1:] if target.params[:1] == ["self"] else target.params
            for name, given in zip(params, call.args, strict=False):
                if dotted(given) == loss and name not in target.assigns:
                    yield from _totals(view, target, name, helper=call)
    if any(dotted(r) == loss for r in function.returns):
        for call, caller in view.project.callers.get(function, ()):
            parent = caller.source.parents.get(call)
            if isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Name):
                yield from _totals(view, caller, parent.targets[0].id)
            elif isinstance(parent, ast.AugAssign):
                yield Found(parent, caller.source, f"{dotted(parent.target)} keeps the graph of every batch",
                            [inserted(call, ".detach()", after=True)])  # fmt: skip


def _totals(view: View, function: Function, loss: str, helper: ast.Call | None = None) -> Iterator[Found]:
    gone_back = _gone_back(function)
    for key, assigns in function.assigns.items():
        for assign in assigns:
            value = assign.value
            if assign.how == "=" and isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add) and key != loss:
                if dotted(value.left) != key and dotted(value.right) != key:
                    continue
            elif assign.how != "+=" or key == loss:
                continue
            held = value is not None and _holding(value, loss)
            if held and key not in gone_back and (helper is not None or _looped(function, assign.node)):
                if helper is not None and "." not in key:
                    continue
                yield Found(assign.node, function.source, f"{key} keeps the graph of every batch", _mend(held))
    for call in function.calls:
        func = call.func
        if isinstance(func, ast.Attribute) and func.attr == "append" and call.args and dotted(call.args[0]) == loss:
            key = dotted(func.value)
            if (
                key not in gone_back
                and (helper is not None or _looped(function, call))
                and _kept_long(function, key, call)
            ):
                yield Found(call, function.source, f"{key} keeps the graph of every batch", _mend(call.args[0]))
    if helper is not None:
        for given in function.returns:
            if isinstance(given, ast.BinOp) and isinstance(given.op, ast.Add) and (held := _holding(given, loss)):
                yield Found(given, function.source, "this sum keeps the graph of every batch", _mend(held))


def _gone_back(function: Function) -> set[str]:
    """Names that a backward may go through: those it is called on and those that go into them."""
    found: set[str] = set()
    for call in function.calls:
        if isinstance(call.func, ast.Attribute) and call.func.attr in (
            "backward",
            "scale",
            "manual_backward",
            "stack",
            "cat",
        ):
            for one in (call.func.value, *call.args):
                found |= {dotted(n) for n in ast.walk(one) if isinstance(n, ast.Name | ast.Attribute)}
    for _ in range(3):
        for key in list(found):
            for assign in function.assigns.get(key, ()):
                if assign.value is not None:
                    found |= {dotted(n) for n in ast.walk(assign.value) if isinstance(n, ast.Name | ast.Attribute)} - {
                        ""
                    }
    return found


def _holding(value: ast.expr, loss: str) -> ast.expr | None:
    """The loss inside an expression, where nothing takes its graph off."""
    if dotted(value) == loss:
        return value
    if isinstance(value, ast.BinOp):
        return _holding(value.left, loss) or _holding(value.right, loss)
    if (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and value.func.attr in ("mean", "sum", "clone")
    ):
        return _holding(value.func.value, loss)
    return None


def _looped(function: Function, node: ast.AST) -> bool:
    return any(one in function.loops for one in function.source.above(node))


def _kept_long(function: Function, key: str, call: ast.Call) -> bool:
    """Whether a list is made outside the loop that fills it."""
    if key.startswith("self."):
        return True
    loop = next((one for one in function.source.above(call) if one in function.loops), None)
    return loop is None or not any(loop in function.source.above(a.node) for a in function.assigns.get(key, ()))


def _mend(held: ast.expr) -> list[Edit]:
    return [inserted(held, ".detach()", after=True)]


__all__ = ["check", "inside"]
