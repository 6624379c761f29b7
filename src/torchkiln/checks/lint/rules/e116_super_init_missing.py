"""`super().__init__()` is missing or comes late.

## What

A subclass of `nn.Module` has an `__init__` that does not call its parent's, or assigns layers before it does.

## Why

`nn.Module` keeps its layers in tables that its `__init__` makes: the first layer that is assigned raises
`AttributeError: cannot assign module before Module.__init__() call`.

## Bad

```python
from torch import nn


class Net(nn.Module):
    def __init__(self):
        self.fc = nn.Linear(8, 2)
```

## Good

```python
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 2)
```

## Fix

Call `super().__init__()` first.

## How sure

99 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.source import Class, Function, dotted, inside, position
from torchkiln.checks.lint.view import Edit, Found, View


def check(view: View) -> Iterator[Found]:
    """One finding for each class."""
    for one in view.classes:
        init = one.methods.get("__init__")
        if init is None or not view.project.is_module(one) or not init.is_method or _made_otherwise(one):
            continue
        if not _only_modules(view, one) or any(isinstance(n, ast.Raise) for n in init.body):
            continue
        first = next((n for n in inside(init.node) if isinstance(n, ast.Call) and _calls_parent(view, n, init)), None)
        early = [a for a in _kept(view, init) if first is None or position(a) < position(first)]
        if first is None:
            node = early[0] if early else init.node
            yield Found(node, one.source, f"{one.name}.__init__ never calls super().__init__()", _mend(init), safe=True)
        elif early:
            yield Found(early[0], one.source, f"{one.name} assigns layers before super().__init__()")


def _only_modules(view: View, one: Class) -> bool:
    """Whether all parents are known, so that none can do the work in another way."""
    for base in one.bases:
        there = view.project.object(base, one.source)
        if not base.startswith(("torch.nn.", "lightning.")) and not (
            isinstance(there, Class)
            and view.project.is_module(there)
            and not any(_made_otherwise(c) for c in (there, *view.project.parents(there)))
        ):
            return False
    return bool(one.bases)


def _made_otherwise(one: Class) -> bool:
    """Whether a decorator or a metaclass may call the parent in its place."""
    return bool(one.node.decorator_list) or bool(one.node.keywords)


def _calls_parent(view: View, call: ast.Call, init: Function, depth: int = 0) -> bool:
    """Whether a call runs an `__init__` of a parent, itself or in a method of the class."""
    func = call.func
    if isinstance(func, ast.Attribute) and func.attr in ("__init__", "__setstate__"):
        return True
    if (isinstance(func, ast.Name) and func.id == "super") or dotted(func).endswith("__init__"):
        return isinstance(init.source.parents.get(call), ast.Attribute) and "__init__" in init.source.segment(
            init.source.parents[init.source.parents[call]]
        )
    target = view.project.target(call, init)
    if isinstance(target, Function) and target.owner is not None and depth < 2:
        return any(_calls_parent(view, c, target, depth + 1) for c in target.calls)
    return False


def _kept(view: View, init: Function) -> list[ast.AST]:
    """Assignments of layers or parameters to `self`."""
    frame = view.values.frame(init)
    found = []
    for key, assigns in init.assigns.items():
        for assign in assigns if key.startswith("self.") else ():
            if isinstance(assign.value, ast.Call) and assign.how == "=":
                full = init.source.called(assign.value)
                kind = view.values.kind(assign.value, frame)
                if full == "torch.nn.Parameter" or (
                    kind.name in ("model", "loss") and (kind.made_by.startswith("torch.nn.") or kind.home)
                ):
                    found.append(assign.node)
    return sorted(found, key=position)


def _mend(init: Function) -> list[Edit]:
    body = init.body
    doc = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    if doc and len(body) == 1:
        return []
    first = body[1] if doc else body[0]
    if first.lineno == getattr(init.node, "lineno", 0):
        return []
    place = (first.lineno, first.col_offset)
    return [Edit(place, place, f"super().__init__()\n{' ' * first.col_offset}")]
