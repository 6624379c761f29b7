"""Inference runs under `inference_mode`.

## What

Evaluation and prediction record no gradients: ours do so, and lint finds no evaluation with gradients in your code.

## Why

Graphs that nobody uses cost memory and time.

## Bad

```python
model.eval()
out = model(x)
```

## Good

```python
with torch.inference_mode():
    out = model(x)
```

## Fix

Put evaluations of your own under `torch.inference_mode()`.

## How sure

90 %.
"""

from __future__ import annotations

from torchkiln.checks.ready.material import Answer, Material, failed, passed
from torchkiln.checks.ready.measured import linted


def check(run: Material) -> Answer:
    """By lint's W113 on the person's own files; what torchkiln runs is under inference_mode throughout."""
    found, missing = linted(run, ("W113",))
    if found:
        return failed(f"{found[0].file}:{found[0].line}: {found[0].message}", f"torchkiln lint {found[0].file}")
    served = "; the bundle runs without autograd" if (run.bundle / "manifest.json").is_file() else ""
    if missing:
        return failed(f"the code of {missing[0]} is not here to be read", "torchkiln lint PATH")
    return passed(f"torchkiln evaluates and predicts under inference_mode{served}")
