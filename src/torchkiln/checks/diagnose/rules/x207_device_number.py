"""A device is asked for that the machine does not have.

## What

A device number is not below the number of visible devices, or the device's name is none that torch knows.

## Why

Numbers begin at 0 and count only the devices in CUDA_VISIBLE_DEVICES; checkpoints and scripts written for more GPUs
name higher ones.

## Bad

```python
import torch

torch.zeros(2, device="gpu")
```

## Good

```python
import torch

torch.zeros(2, device="cpu")
```

## Fix

Use "cuda" or a number below `torch.cuda.device_count()`; look at CUDA_VISIBLE_DEVICES and `--nproc-per-node`; load
with `map_location`.

## How sure

96 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"invalid device ordinal|Invalid device id|device string: |Invalid device string|device_index >= 0|"
        r"Attempting to deserialize object on CUDA device \d+ but torch.cuda.device_count\(\)|"
        r"You requested (?:specific )?(?:gpu|GPU)s?: ?\[.*\]|devices?=.* is not available"
    ),
)
