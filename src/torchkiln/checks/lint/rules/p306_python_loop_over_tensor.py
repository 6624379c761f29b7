"""A Python loop goes over the elements of a tensor.

## What

`for i in range(x.size(0))` with `x[i]` in it, or `for v in tensor`, in a `forward` or a loss.

## Why

Each turn launches kernels for one element; the same over the whole tensor is one launch, often hundreds of times
faster.

## Bad

```python
from torch import nn


class Net(nn.Module):
    def forward(self, x):
        total = 0
        for i in range(x.size(0)):
            total = total + x[i] * 2
        return total
```

## Good

```python
from torch import nn


class Net(nn.Module):
    def forward(self, x):
        return (x * 2).sum(0)
```

## Fix

Write it for the whole tensor: broadcasting, indexing by a tensor, `torch.where`, `vmap`.

## How sure

80 %. Recurrent steps that need the one before are not found where they call a layer.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint import names
from torchkiln.checks.lint.source import Function, constant, dotted, inside
from torchkiln.checks.lint.view import Found, View


def check(view: View) -> Iterator[Found]:
    """One finding for each loop."""
    for function in view.functions:
        for loop in function.loops:
            if isinstance(loop, ast.For) and _sized(view, loop, function) and not _recurrent(view, loop, function):
                yield Found(loop, function.source, "a Python loop goes over the elements of a tensor")


def _sized(view: View, loop: ast.For, function: Function) -> bool:
    """Whether the loop counts over a tensor's size and takes its elements, or goes over a tensor that is made here."""
    it = loop.iter
    if isinstance(it, ast.Name):
        assigns = view.flow.reaching(it.id, it, function)
        return bool(assigns) and all(
            isinstance(a.value, ast.Call) and a.how == "=" and function.source.called(a.value) in names.FACTORIES
            for a in assigns
        )
    if (
        not isinstance(it, ast.Call)
        or dotted(it.func) != "range"
        or len(it.args) != 1
        or not isinstance(loop.target, ast.Name)
    ):
        return False
    tensor = _tensor(it.args[0], function)
    return bool(tensor) and _indexed(loop, tensor, loop.target.id)


def _tensor(size: ast.expr, function: Function) -> str:
    """`x` of `x.size(0)`, `x.shape[0]`, `x.numel()`, or of a name for one of these."""
    if isinstance(size, ast.Name):
        for assign in function.assigns.get(size.id, ()):
            if assign.value is not None and assign.how in ("=", "[0]"):
                found = _tensor(assign.value, function) or (_tensor_of_shape(assign.value))
                if found:
                    return found
        return ""
    if isinstance(size, ast.Call) and isinstance(size.func, ast.Attribute) and size.func.attr in ("size", "numel"):
        return dotted(size.func.value)
    if isinstance(size, ast.Subscript) and isinstance(constant(size.slice), int):
        return _tensor_of_shape(size.value)
    return ""


def _tensor_of_shape(node: ast.expr) -> str:
    return dotted(node.value) if isinstance(node, ast.Attribute) and node.attr == "shape" else ""


def _indexed(loop: ast.For, tensor: str, index: str) -> bool:
    for one in inside(loop):
        if isinstance(one, ast.Subscript) and dotted(one.value) == tensor:
            first = one.slice.elts[0] if isinstance(one.slice, ast.Tuple) and one.slice.elts else one.slice
            if (isinstance(first, ast.Name) and first.id == index) or (
                isinstance(one.slice, ast.Tuple)
                and any(isinstance(e, ast.Name) and e.id == index for e in one.slice.elts)
            ):
                return True
    return False


def _recurrent(view: View, loop: ast.For, function: Function) -> bool:
    """Whether a turn runs a model or a layer, or the function is no work on tensors of torch's."""
    text = function.source.text
    if "torch" not in text:
        return True
    frame = view.values.frame(function)
    for one in inside(loop):
        if isinstance(one, ast.Call) and (
            view.values.kind(one.func, frame).name in ("model", "loss") or dotted(one.func).startswith("self.")
        ):
            return True
        if isinstance(one, ast.Call) and dotted(one.func).rpartition(".")[2] in (
            "print",
            "plot",
            "imshow",
            "save",
            "write",
            "backward",
        ):
            return True
    return False
