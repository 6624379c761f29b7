"""Layers or parameters are kept in a plain list or dict.

## What

A `nn.Module` keeps layers or parameters that it makes in a list, tuple or dict of its own.

## Why

`parameters()`, `to()` and `state_dict()` do not see into plain containers: these layers are not trained, not moved
and not saved.

## Bad

```python
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(8, 8) for _ in range(3)]
```

## Good

```python
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])
```

## Fix

Use `nn.ModuleList`, `nn.ModuleDict`, `nn.ParameterList` or `nn.ParameterDict`.

## How sure

97 %. Silent where the layers are registered in another way, and for layers that have no parameters.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint import names
from torchkiln.checks.lint.source import Assign, Class, Function, dotted
from torchkiln.checks.lint.view import Edit, Found, View, inserted

REGISTERING = {"add_module", "register_module", "setattr", "register_parameter", "__setattr__"}


def check(view: View) -> Iterator[Found]:
    """One finding for each attribute."""
    for one in view.classes:
        if not view.project.is_module(one):
            continue
        functions = [f for m in one.methods.values() for f in (m, *m.inner.values())]
        if any(dotted(c.func).rpartition(".")[2] in REGISTERING for f in functions for c in f.calls):
            continue
        for name, assigns in one.attrs.items():
            found = _plain(view, one, name, assigns)
            if found is not None:
                yield found


def _plain(view: View, one: Class, name: str, assigns: list[tuple[Function, Assign]]) -> Found | None:
    """Whether the only values of an attribute are plain containers of new layers."""
    values = [(f, a) for f, a in assigns if a.how == "="]
    if not values or not all(_container(a.value, f) for f, a in values):
        return None
    message = f"self.{name} is a plain container; the layers in it are not registered"
    for function, assign in values:
        value = _literal(assign.value, function)
        if value is not None and any(_layer(view, e, function) for e in _elements(value)):
            return Found(assign.node, one.source, message, _mend(view, function, assign, value))
    for method in one.methods.values():
        for call in method.calls:
            func = call.func
            if (
                isinstance(func, ast.Attribute)
                and func.attr in ("append", "insert", "extend")
                and dotted(func.value) == f"self.{name}"
            ):
                given = call.args[-1] if call.args else None
                parts = _elements(given) if isinstance(given, ast.List | ast.ListComp) else [given]
                if any(p is not None and _layer(view, p, method) for p in parts):
                    return Found(call, one.source, message)
        for key, stored in method.assigns.items():
            if key.startswith(f"self.{name}[") and any(
                a.value is not None and _layer(view, a.value, method) for a in stored
            ):
                return Found(stored[0].node, one.source, message)
    return None


def _container(value: ast.expr | None, function: Function) -> bool:
    return isinstance(
        _literal(value, function), ast.List | ast.Tuple | ast.Dict | ast.ListComp | ast.DictComp | ast.Call
    )


def _literal(value: ast.expr | None, function: Function) -> ast.expr | None:
    """The container, through a local name or a helper of the class."""
    if isinstance(value, ast.Call):
        return value if dotted(value.func) in ("list", "dict") and not value.args else _helper(value, function)
    if isinstance(value, ast.Name):
        assigns = [a for a in function.assigns.get(value.id, ()) if a.how == "="]
        return (
            assigns[0].value
            if len(assigns) == 1 and isinstance(assigns[0].value, ast.List | ast.ListComp | ast.Dict)
            else None
        )
    return value


def _helper(call: ast.Call, function: Function) -> ast.expr | None:
    """What a function of the same file returns, where that is a container written out."""
    name = dotted(call.func)
    home = function.owner
    target = home.methods.get(name[5:]) if home and name.startswith("self.") else function.source.top.inner.get(name)
    if target is None or len(target.returns) != 1:
        return None
    return _literal(target.returns[0], target) if not isinstance(target.returns[0], ast.Call) else None


def _elements(value: ast.expr) -> list[ast.expr]:
    if isinstance(value, ast.List | ast.Tuple):
        return value.elts
    if isinstance(value, ast.Dict):
        return value.values
    if isinstance(value, ast.ListComp):
        return [value.elt]
    return [value.value] if isinstance(value, ast.DictComp) else []


def _layer(view: View, node: ast.expr, function: Function) -> bool:
    """Whether an element is made here and has parameters."""
    if isinstance(node, ast.Name):
        made_here = [a.value for a in function.assigns.get(node.id, ()) if a.how == "="]
        return len(made_here) == 1 and isinstance(made_here[0], ast.Call) and _layer(view, made_here[0], function)
    if not isinstance(node, ast.Call):
        return False
    full = function.source.called(node)
    if full == "torch.nn.Parameter":
        return True
    if full == "torch.nn.Sequential":
        return any(_layer(view, a, function) for a in node.args)
    made = view.project.target(node, function)
    if isinstance(made, Class):
        return view.project.is_module(made) and not made.name.endswith("Loss") and bool(made.attrs)
    last = full.rpartition(".")[2]
    return (
        full.startswith("torch.nn.")
        and full.count(".") == 2
        and last[:1].isupper()
        and not names.PARAMETERLESS.match(full)
    )


def _mend(view: View, function: Function, assign: Assign, value: ast.expr) -> list[Edit]:
    """Wrap a list or dict that is written out where it is assigned."""
    if assign.value is not value or not isinstance(value, ast.List | ast.ListComp | ast.Dict | ast.DictComp):
        return []
    if function.source.imports.get("nn") != "torch.nn":
        return []
    parts = _elements(value)
    parameters = all(isinstance(p, ast.Call) and function.source.called(p) == "torch.nn.Parameter" for p in parts)
    kind = ("Parameter" if parameters else "Module") + (
        "Dict" if isinstance(value, ast.Dict | ast.DictComp) else "List"
    )
    return [inserted(value, f"nn.{kind}("), inserted(value, ")", after=True)]
