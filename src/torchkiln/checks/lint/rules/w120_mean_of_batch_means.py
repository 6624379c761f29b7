"""A score is a mean of batch means.

## What

An evaluation adds up a mean of each batch (a loss, an accuracy) and divides by the number of batches.

## Why

The last batch is mostly smaller and counts as much as a full one: the score depends on the batch size and on which
samples come last.

## Bad

```python
import torch


@torch.no_grad()
def evaluate(model, val_loader):
    model.eval()
    total = 0.0
    for x, y in val_loader:
        total += criterion(model(x), y).item()
    return total / len(val_loader)
```

## Good

```python
import torch


@torch.no_grad()
def evaluate(model, val_loader):
    model.eval()
    total, count = 0.0, 0
    for x, y in val_loader:
        total += criterion(model(x), y).item() * len(x)
        count += len(x)
    return total / count
```

## Fix

Weight each batch by its size and divide by the number of samples.

## How sure

85 %. Silent with `drop_last=True`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.order import evaluations
from torchkiln.checks.lint.source import Assign, Function, dotted, inside, keyword
from torchkiln.checks.lint.values import Frame
from torchkiln.checks.lint.view import Found, View


def check(view: View) -> Iterator[Found]:
    """One finding for each total."""
    seen = set()
    for trace in view.traces:
        for loop, _ in evaluations(trace):
            function, frame = loop.frame.function, loop.frame
            if loop.node in seen or _even(view, loop.node.iter if isinstance(loop.node, ast.For) else None, frame):
                continue
            seen.add(loop.node)
            for key, assigns in function.assigns.items():
                added = [
                    a for a in assigns if _adds_mean(view, a, key, frame) and loop.node in function.source.above(a.node)
                ]
                if added and _divided(view, key, function):
                    message = f"{key} adds up batch means and is divided by the number of batches"
                    yield Found(added[0].node, function.source, message)
            for call, kept in _collected(view, loop.node, frame):
                yield Found(call, function.source, f"{kept} collects batch means, whose plain mean is taken")


def _collected(view: View, loop: ast.AST, frame: Frame) -> Iterator[tuple[ast.Call, str]]:
    """Lists that get each batch's mean in a loop, and are averaged in the same function."""
    function = frame.function
    for call in function.calls:
        func = call.func
        if (
            isinstance(func, ast.Attribute)
            and func.attr == "append"
            and call.args
            and loop in function.source.above(call)
        ):
            kept = dotted(func.value)
            if kept and _mean(view, call.args[0], frame) and any(_averages(n, kept) for n in inside(function.node)):
                yield call, kept


def _averages(node: ast.AST, kept: str) -> bool:
    """Whether a node is the plain mean of a list: `sum(x) / len(x)`, or `mean(x)` of some library."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _asks(node.left, "sum", kept) and (_asks(node.right, "len", kept) or isinstance(node.right, ast.Call))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("mean", "fmean"):
        made = node.func.value  # torch.tensor(x).mean()
        return _asks(node, node.func.attr, kept) or (
            isinstance(made, ast.Call) and any(dotted(a) == kept for a in made.args)
        )
    return False


def _asks(node: ast.expr, name: str, kept: str) -> bool:
    return (
        isinstance(node, ast.Call)
        and dotted(node.func).rpartition(".")[2] == name
        and any(dotted(a) == kept for a in node.args)
    )


def _even(view: View, iterated: ast.expr | None, frame: Frame) -> bool:
    """Whether all batches are known to have one size."""
    if iterated is None:
        return True
    for one in ast.walk(iterated):
        if isinstance(one, ast.Name | ast.Attribute):
            made = view.flow.made(one, frame)
            if made is not None and keyword(made[0], "drop_last") is not None:
                return True
    return False


def _adds_mean(view: View, assign: Assign, key: str, frame: Frame) -> bool:
    """Whether a batch's mean is added, unweighted."""
    value = assign.value
    if (
        assign.how == "="
        and isinstance(value, ast.BinOp)
        and isinstance(value.op, ast.Add)
        and dotted(value.left) == key
    ):
        value = value.right
    elif assign.how != "+=":
        return False
    return value is not None and _mean(view, value, frame)


def _mean(view: View, value: ast.expr, frame: Frame, depth: int = 0) -> bool:
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        if value.func.attr in ("item", "detach", "cpu", "float"):
            return _mean(view, value.func.value, frame, depth + 1)
        if value.func.attr == "mean":
            return True
    if isinstance(value, ast.Call):
        if dotted(value.func) == "float" and value.args:
            return _mean(view, value.args[0], frame, depth + 1)
        kind = view.values.kind(value.func, frame)
        made = view.flow.made(value.func, frame) if kind.name == "loss" else None
        reduction = keyword(made[0], "reduction") if made else None
        functional = frame.function.source.called(value).startswith("torch.nn.functional.")
        return (kind.name == "loss" or functional) and reduction is None and keyword(value, "reduction") is None
    if isinstance(value, ast.Name) and depth < 4:
        assigns = view.flow.reaching(value.id, value, frame.function)
        return bool(assigns) and all(
            a.how == "=" and a.value is not None and _mean(view, a.value, frame, depth + 1) for a in assigns
        )
    return isinstance(value, ast.Attribute) and value.attr == "loss"


def _divided(view: View, key: str, function: Function) -> bool:
    """Whether a total is divided by the length of a loader, or by a count of batches, here or in a helper."""
    for node in inside(function.node):
        below: ast.expr | None = None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and _mentions(node.left, key):
            below = node.right
        elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Div) and dotted(node.target) == key:
            below = node.value
        if below is not None and _batches(view, below, function):
            return True
        if isinstance(node, ast.Call) and any(dotted(a) == key for a in node.args):
            target = view.project.target(node, function)
            if isinstance(target, Function) and _helper(view, target, node, key):
                return True
    home = function.owner
    if key.startswith("self.") and home is not None:
        return any(_divided(view, key, m) for m in home.methods.values() if m is not function and key in _read(m))
    return False


def _read(method: Function) -> set[str]:
    return {dotted(n) for n in inside(method.node) if isinstance(n, ast.Attribute)}


def _helper(view: View, target: Function, call: ast.Call, key: str) -> bool:
    params = target.params[1:] if target.is_method else target.params
    return any(dotted(a) == key and _divided(view, p, target) for p, a in zip(params, call.args, strict=False))


def _mentions(node: ast.expr, key: str) -> bool:
    return dotted(node) == key or (isinstance(node, ast.Call) and any(dotted(a) == key for a in node.args))


def _batches(view: View, node: ast.expr, function: Function) -> bool:
    if isinstance(node, ast.Call) and dotted(node.func) == "len" and node.args:
        written = dotted(node.args[0])
        return (
            bool(written)
            and not written.endswith("dataset")
            and view.values.kind(node.args[0], view.values.frame(function)).name == "loader"
        )
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add) and _batches(view, node.left, function)
    written = dotted(node)
    if any(
        isinstance(a.value, ast.Call) and _batches(view, a.value, function) for a in function.assigns.get(written, ())
    ):
        return True
    return ("batches" in written.lower() and "num" in written.lower()) or written in (
        "n_batches",
        "nb_batches",
        "batches",
    )
