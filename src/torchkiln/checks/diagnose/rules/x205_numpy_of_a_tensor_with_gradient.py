"""A tensor that requires gradients is handed to numpy.

## What

`.numpy()`, or a function of numpy, matplotlib or scikit-learn, gets a tensor that is part of a graph.

## Why

What numpy does cannot be differentiated, so torch refuses in place of losing the gradient in silence.

## Bad

```python
import torch

w = torch.ones(2, requires_grad=True)
(w * 2).numpy()
```

## Good

```python
import torch

w = torch.ones(2, requires_grad=True)
(w * 2).detach().numpy()
```

## Fix

Take it out of the graph first: `.detach().cpu().numpy()`; evaluate under `torch.inference_mode()`.

## How sure

98 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"Can't call numpy\(\) on (?:Tensor|Variable) that requires grad"),
    fix="take it out of the graph first: `.detach().cpu().numpy()` in `{code}`; evaluate under "
    "`torch.inference_mode()`.",
    lint=("W113",),
)
