"""An activation is applied before a loss that applies its own.

## What

The output of a softmax or a sigmoid goes into a loss that takes raw scores: `CrossEntropyLoss`,
`BCEWithLogitsLoss` and their functions.

## Why

Applied twice, the activation flattens the scores: gradients shrink, and the loss cannot come near zero.

## Bad

```python
from torch import nn
import torch.nn.functional as F

criterion = nn.CrossEntropyLoss()


def loss_of(model, x, y):
    out = F.softmax(model(x), dim=1)
    return criterion(out, y)
```

## Good

```python
from torch import nn

criterion = nn.CrossEntropyLoss()


def loss_of(model, x, y):
    return criterion(model(x), y)
```

## Fix

Give the loss the raw scores; apply the activation only where probabilities are shown or compared.

## How sure

96 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.activation import loss_input
from torchkiln.checks.lint.source import Function
from torchkiln.checks.lint.values import Frame
from torchkiln.checks.lint.view import Found, View

TAKES_SCORES = {
    "torch.nn.CrossEntropyLoss": ("softmax", "sigmoid"),
    "torch.nn.functional.cross_entropy": ("softmax", "sigmoid"),
    "torch.nn.BCEWithLogitsLoss": ("sigmoid", "softmax"),
    "torch.nn.functional.binary_cross_entropy_with_logits": ("sigmoid", "softmax"),
    "torch.nn.MultiLabelSoftMarginLoss": ("sigmoid",),
    "torchvision.ops.sigmoid_focal_loss": ("sigmoid",),
}


def check(view: View) -> Iterator[Found]:
    """One finding for each such call of a loss."""
    for call, frame, loss in losses(view):
        given = loss_input(call)
        wrong = TAKES_SCORES.get(loss)
        if wrong and given is not None:
            found = view.activations.of(given, frame)
            if found in wrong:
                name = loss.rpartition(".")[2]
                yield Found(
                    call,
                    frame.function.source,
                    f"{name} applies its own activation, and its input is the output of a {found}",
                )


def losses(view: View) -> Iterator[tuple[ast.Call, Frame, str]]:
    """Every call of a loss that is known by name, as seen alone and from each caller: call, frame, full name."""
    for source in view.sources:
        for call, function in source.calls:
            if not call.args and not call.keywords:
                continue
            for frame in frames(view, function):
                full = source.called(call)
                loss = full if full.startswith(("torch.nn.functional.", "torchvision.ops.")) else ""
                if not loss:
                    kind = view.values.kind(call.func, frame)
                    loss = kind.made_by if kind.name == "loss" and full != kind.made_by else ""
                if loss:
                    yield call, frame, loss


def frames(view: View, function: Function) -> Iterator[Frame]:
    """A function by itself, and as called from each place in view."""
    yield view.values.frame(function)
    for call, caller in view.project.callers.get(function, ())[:8]:
        yield view.values.enter(call, function, view.values.frame(caller))
