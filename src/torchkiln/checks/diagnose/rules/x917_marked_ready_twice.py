"""DDP gets a parameter's gradient twice in a step.

## What

`Expected to mark a variable ready only once`.

## Why

Checkpointing with reentrant backwards, a forward beside the wrapper, or parameters shared between several
backwards.

## Bad

```text
RuntimeError: Expected to mark a variable ready only once. This error is caused by one of the following reasons:
1) Use of a module parameter outside the `forward` function.
```

## Good

```python
torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False)
```

## Fix

Use `use_reentrant=False` for checkpointing, call the wrapped model alone and once a backward, or set
`static_graph=True`.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"mark a variable ready only once|has been marked as ready twice", weight=31),
)
