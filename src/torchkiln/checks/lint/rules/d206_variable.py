"""`Variable` is obsolete.

## What

`torch.autograd.Variable` or `volatile=` is used.

## Why

Since torch 0.4 a tensor is a variable: `Variable(x)` gives x back, and `volatile=True` does nothing, so that an
evaluation meant to be without gradients keeps them.

## Bad

```python
from torch.autograd import Variable

x = Variable(x)
```

## Good

```python
x = x.to(device)
```

## Fix

Use the tensor itself; `torch.inference_mode()` in place of `volatile`.

## How sure

99 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.view import Found, View, replaced


def check(view: View) -> Iterator[Found]:
    """One finding for each use."""
    for call, function in view.calls("torch.autograd.Variable"):
        source = function.source
        plain = len(call.args) == 1 and not call.keywords and not isinstance(call.args[0], ast.Starred)
        single = plain and call.args[0].lineno == call.args[0].end_lineno == call.lineno
        simple = single and isinstance(call.args[0], ast.Name | ast.Attribute | ast.Call | ast.Subscript)
        edits = [replaced(call, source.segment(call.args[0]))] if simple else []
        yield Found(call, source, "Variable(x) is x itself", edits)
