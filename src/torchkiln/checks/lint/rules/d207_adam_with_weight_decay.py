"""`Adam` with weight decay.

## What

`torch.optim.Adam` is given a `weight_decay` that is not zero.

## Why

There it is added to the gradient and then divided by Adam's scale: weights with large gradients decay less.
`AdamW` decays all alike, which is what is mostly meant.

## Bad

```python
import torch

optimizer = torch.optim.Adam(model.parameters(), weight_decay=1e-2)
```

## Good

```python
import torch

optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
```

## Fix

Use `torch.optim.AdamW`, and look at the value anew.

## How sure

90 %.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchkiln.checks.lint.rules.e110_activation_before_loss import frames
from torchkiln.checks.lint.source import constant, dotted, keyword
from torchkiln.checks.lint.view import Found, View, replaced


def check(view: View) -> Iterator[Found]:
    """One finding for each optimizer."""
    for call, function in view.calls("torch.optim.Adam"):
        given = keyword(call, "weight_decay")
        if given is None or constant(keyword(call, "decoupled_weight_decay")) is True:
            continue
        values = [constant(view.values.follow(given, frame)[0]) for frame in frames(view, function)]
        if values[-1] not in (0, 0.0, None):
            written = dotted(call.func)
            edits = [replaced(call.func, f"{written}W")] if written.endswith("optim.Adam") else []
            yield Found(call, function.source, "Adam scales the weight decay away; AdamW does not", edits, safe=False)
