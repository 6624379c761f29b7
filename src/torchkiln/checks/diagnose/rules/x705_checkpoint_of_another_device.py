"""The checkpoint lies on a device that is not here.

## What

A file that was saved on a GPU is loaded where there is none, or on a machine with fewer.

## Why

Tensors go back to the device they were saved from.

## Bad

```text
RuntimeError: Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. If you
are running on a CPU-only machine, please use torch.load with map_location=torch.device('cpu') to map your
storages to the CPU.
```

## Good

```python
state = torch.load("best.pt", map_location="cpu", weights_only=True)
```

## Fix

Load with `map_location="cpu"`, and move the model afterwards.

## How sure

99 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"Attempting to deserialize object on (?:a|an) (?:CUDA|MPS|XPU|HPU) device|"
        r"Attempting to deserialize object on CUDA device \d+|don't know how to restore data location",
        weight=12,
    ),
)
