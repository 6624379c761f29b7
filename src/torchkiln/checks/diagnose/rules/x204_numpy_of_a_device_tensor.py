"""A tensor on a GPU is handed to numpy.

## What

`.numpy()`, or a function of numpy, matplotlib or scikit-learn, gets a tensor that lies on a GPU.

## Why

Numpy's arrays live in the machine's own memory.

## Bad

```text
TypeError: can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory
first.
```

## Good

```python
predictions.append(out.argmax(1).cpu().numpy())
```

## Fix

Copy it first: `.detach().cpu().numpy()`.

## How sure

98 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"can't convert (?:CUDA|cuda|mps|xpu)\S* ?(?:device type )?tensor to numpy|"
        r"can't convert \w+:\d+ device type tensor"
    ),
    fix="copy it first: `.detach().cpu().numpy()` in `{code}`.",
)
