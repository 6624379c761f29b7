"""A loss that needs log-probabilities or probabilities is given something else.

## What

`NLLLoss` or `KLDivLoss` is given raw scores or probabilities where it needs the logarithm of probabilities, or
`BCELoss` raw scores where it needs probabilities.

## Why

`NLLLoss` only picks numbers: without the logarithm the loss falls below zero without end and means nothing.
`BCELoss` fails or saturates outside 0 to 1.

## Bad

```python
from torch import nn
import torch.nn.functional as F


def loss_of(model, x, y):
    probabilities = F.softmax(model(x), dim=1)
    return F.nll_loss(probabilities, y)
```

## Good

```python
from torch import nn
import torch.nn.functional as F


def loss_of(model, x, y):
    return F.nll_loss(F.log_softmax(model(x), dim=1), y)
```

## Fix

Use `log_softmax` before `NLLLoss` and `KLDivLoss`, or `CrossEntropyLoss` on raw scores; for `BCELoss` apply a
sigmoid, or better use `BCEWithLogitsLoss`.

## How sure

95 %.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchkiln.checks.lint.activation import loss_input
from torchkiln.checks.lint.rules.e110_activation_before_loss import losses
from torchkiln.checks.lint.view import Found, View

LOG = ("softmax", "sigmoid", "linear")
PROBABILITY = ("linear", "log_softmax", "log_sigmoid")
NEEDS = {
    "torch.nn.NLLLoss": (LOG, "log-probabilities"),
    "torch.nn.functional.nll_loss": (LOG, "log-probabilities"),
    "torch.nn.KLDivLoss": (LOG, "log-probabilities"),
    "torch.nn.functional.kl_div": (LOG, "log-probabilities"),
    "torch.nn.BCELoss": (PROBABILITY, "probabilities"),
    "torch.nn.functional.binary_cross_entropy": (PROBABILITY, "probabilities"),
}


def check(view: View) -> Iterator[Found]:
    """One finding for each such call of a loss."""
    for call, frame, loss in losses(view):
        given = loss_input(call)
        if loss in NEEDS and given is not None:
            wrong, needed = NEEDS[loss]
            found = view.activations.of(given, frame)
            if found in wrong:
                made = "raw scores" if found == "linear" else f"the output of a {found}"
                yield Found(
                    call, frame.function.source, f"{loss.rpartition('.')[2]} needs {needed}, and its input is {made}"
                )
