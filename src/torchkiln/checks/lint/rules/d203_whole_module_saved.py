"""A whole module is saved or loaded.

## What

`torch.save(model, ...)` in place of its `state_dict()`, or a file is loaded and used as a model at once.

## Why

The file holds the path of the class, not its code: after a change of the code, a rename or a move it cannot be
loaded, and loading it runs pickled code.

## Bad

```python
import torch

torch.save(model, "model.pt")
```

## Good

```python
import torch

torch.save(model.state_dict(), "model.pt")
```

## Fix

Save `model.state_dict()`; to load, build the model and call `load_state_dict`.

## How sure

95 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.rules.e110_activation_before_loss import frames
from torchkiln.checks.lint.source import Function, dotted
from torchkiln.checks.lint.view import Edit, Found, View, inserted


def check(view: View) -> Iterator[Found]:
    """One finding for each call."""
    for call, function in view.calls("torch.save"):
        given = _given(call)
        if given is None:
            continue
        for frame in frames(view, function):
            kind = view.values.kind(given, frame)
            if kind.name == "model" and not kind.made_by.startswith("torch.jit"):
                edits: list[Edit] = [inserted(given, ".state_dict()", after=True)]
                yield Found(call, function.source, "the whole module is pickled", edits, safe=False)
                break
    for call, function in view.calls("torch.load"):
        if _used_as_model(call, function):
            yield Found(call, function.source, "a whole module is unpickled")


def _given(call: ast.Call) -> ast.expr | None:
    """What is saved: a name by itself, or as a value of a dict."""
    first = call.args[0] if call.args else None
    if isinstance(first, ast.Dict):
        models = [
            v
            for k, v in zip(first.keys, first.values, strict=True)
            if isinstance(k, ast.Constant) and k.value in ("model", "net", "network")
        ]
        first = models[0] if models else None
    return first if first is not None and dotted(first) else None


def _used_as_model(call: ast.Call, function: Function) -> bool:
    source = function.source
    parent = source.parents.get(call)
    if isinstance(parent, ast.Attribute):
        return parent.attr in ("eval", "cuda", "to")
    if not isinstance(parent, ast.Assign) or not isinstance(parent.targets[0], ast.Name | ast.Attribute):
        return False
    name = dotted(parent.targets[0])
    return any(
        dotted(c.func) in (f"{name}.eval", f"{name}.forward", name) and c is not call and c.lineno >= call.lineno
        for c in function.calls
    )
