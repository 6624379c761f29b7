"""A batch size is written out, and nothing accumulates.

## What

The training loader's `batch_size` is a number in the code, and no loop accumulates gradients.

## Why

On a smaller device the batch does not fit, and the only way out changes the training. With accumulation the batch
of a step stays what it was.

## Bad

```python
from torch.utils.data import DataLoader

train_loader = DataLoader(train_set, batch_size=256, shuffle=True)
for x, y in train_loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Good

```python
from torch.utils.data import DataLoader

train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)
for x, y in train_loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Fix

Make it a setting, and accumulate gradients over smaller batches where it does not fit.

## How sure

85 %.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchkiln.checks.lint import names
from torchkiln.checks.lint.rules.w125_training_not_shuffled import use
from torchkiln.checks.lint.source import argument, constant
from torchkiln.checks.lint.view import Found, View

ACCUMULATING = ("accum", "micro_batch", "microbatch")


def check(view: View) -> Iterator[Found]:
    """One finding for each training loader."""
    for call, function in view.calls(names.LOADER):
        size = constant(argument(call, 1, "batch_size"))
        if not isinstance(size, int) or size < 2 or view.project.any_text(function.source, ACCUMULATING):
            continue
        held = use(view, call, view.values.frame(function)) == "held out"
        if not held and view.trains(function.source):
            yield Found(call, function.source, f"a batch size of {size} is written out, and nothing accumulates")
