"""Loaded weights do not fit the model.

## What

`load_state_dict(..., strict=False)` finds none of the names that it is given in the model, as after `module.` or
`_orig_mod.` was put before each.

## Why

The model keeps the weights it was drawn with, and nothing says so.

## Bad

```python
saved = {f"module.{name}": value for name, value in model.state_dict().items()}
model.load_state_dict(saved, strict=False)
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Good

```python
saved = model.state_dict()
model.load_state_dict(saved, strict=False)
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Fix

Take the prefix off the names, and load with `strict=True`.

## How sure

99 % where no name fits. Where most of the model's weights are not among them it is a WARN.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from torchkiln.checks.guard.watch import Watch


class Check:
    """Looks at the names of weights that are loaded."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_load(self, module: nn.Module, given: list[str], result: Any) -> None:
        own = {name for name, _ in module.named_parameters()}
        missing = own & set(getattr(result, "missing_keys", ()))
        if given and own and missing == own:
            text = (
                f"none of {len(given)} names, such as {given[0]}, is one of "
                f"{type(module).__name__}'s, such as {sorted(own)[0]}"
            )
            self.watch.found("R526", "FAIL", text)
        elif len(missing) > 0.5 * len(own):
            text = f"{len(missing)} of {len(own)} weights of {type(module).__name__} are not in what is loaded"
            self.watch.found("R526", "WARN", text)
