"""`ReduceLROnPlateau` steps without the metric it should watch.

## What

`scheduler.step()` of a `ReduceLROnPlateau` is called with nothing, or with the training loss though a validation
loss is at hand.

## Why

Without a metric it fails. The training loss goes on falling while the validation loss rises: the rate is not
reduced when it should be.

## Bad

```python
import torch

scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
for epoch in range(epochs):
    train_loss = train(model, train_loader)
    val_loss = validate(model, val_loader)
    scheduler.step(train_loss)
```

## Good

```python
import torch

scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
for epoch in range(epochs):
    train_loss = train(model, train_loader)
    val_loss = validate(model, val_loader)
    scheduler.step(val_loss)
```

## Fix

Give it the validation metric: `scheduler.step(val_loss)`.

## How sure

95 %.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from torchkiln.checks.lint.rules.e110_activation_before_loss import frames
from torchkiln.checks.lint.source import Function, argument, dotted
from torchkiln.checks.lint.values import Frame
from torchkiln.checks.lint.view import Found, View, replaced

OF_TRAINING = re.compile(r"train|running|(^|_)trn_|^loss$|^epoch_loss$", re.IGNORECASE)
OF_VALIDATION = re.compile(
    r"(^|_|\.)(val|valid|validation|dev|test|eval)[a-z]*_?.*(loss|metric|score|acc|err)", re.IGNORECASE
)


def check(view: View) -> Iterator[Found]:
    """One finding for each such step."""
    for call, owner, function in view.methods("step"):
        for frame in frames(view, function):
            if view.values.kind(owner, frame).name != "plateau":
                continue
            given = argument(call, 0, "metrics")
            if given is None:
                if not call.keywords:
                    yield Found(call, function.source, "ReduceLROnPlateau is given no metric to watch")
                continue
            better = _better(given, frame)
            if better:
                edit = [replaced(given, better)] if "." not in better and better in function.assigns else []
                yield Found(
                    call,
                    function.source,
                    f"ReduceLROnPlateau watches the training loss, and {better} is at hand",
                    edit,
                    safe=False,
                )


def _better(given: ast.expr, frame: Frame) -> str:
    """The name of a validation metric that is known where the training loss is given."""
    written = _names(given, frame)
    if not written or any(OF_VALIDATION.search(w) for w in written) or not any(OF_TRAINING.search(w) for w in written):
        return ""
    here: list[Function] = [frame.function]
    while frame.bound:
        frame = next(iter(frame.bound.values()))[1]
        here.append(frame.function)
    return next((n for f in here for n in f.assigns if OF_VALIDATION.search(n)), "")


def _names(given: ast.expr, frame: Frame) -> list[str]:
    found = []
    for one in ast.walk(given):
        if isinstance(one, ast.Name | ast.Attribute) and dotted(one):
            found.append(dotted(one).rpartition(".")[2])
            if isinstance(one, ast.Name) and one.id in frame.bound:
                found += _names(*frame.bound[one.id])
        elif isinstance(one, ast.Constant) and isinstance(one.value, str):
            found.append(one.value)
    return found
