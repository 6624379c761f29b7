"""The optimizer is built before the model is moved to its device.

## What

An optimizer takes a model's parameters, and then the model is moved by `.to(device)` or `.cuda()`.

## Why

On some devices (XLA), and with state that the optimizer has already made, the moved model has other parameters or
the state stays on the old device. torch asks for this order: move, then build the optimizer.

## Bad

```python
from torch import optim

model = Net()
optimizer = optim.Adam(model.parameters())
model.to(device)
```

## Good

```python
from torch import optim

model = Net()
model.to(device)
optimizer = optim.Adam(model.parameters())
```

## Fix

Move the model first, then build the optimizer.

## How sure

85 %. Between CPU and CUDA the parameters stay the same objects and the training may still be right.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchkiln.checks.lint.rules.e104_optimizer_before_new_parts import changed, named
from torchkiln.checks.lint.view import Found, View, at


def check(view: View) -> Iterator[Found]:
    """One finding for each move that comes behind the optimizer."""
    for trace in view.traces:
        for made, event in changed(trace, ("move",)):
            yield at(event, f"the model is moved after {named(made)} has taken its parameters")
