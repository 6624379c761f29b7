"""A check inside a GPU kernel failed: an index or label is out of range.

## What

`device-side assert triggered`: a kernel got an index that does not exist.

## Why

Most often a label that is not below the number of outputs, or a token that is not in the embedding; the traceback
is late, as kernels run on their own.

## Bad

```text
RuntimeError: CUDA error: device-side assert triggered
CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be
incorrect.
```

## Good

```sh
CUDA_LAUNCH_BLOCKING=1 python train.py
```

## Fix

Run one batch on the CPU, where the message names the index, or with CUDA_LAUNCH_BLOCKING=1; check `y.min() >= 0`,
`y.max() < outputs`, and `tokens.max() < num_embeddings`.

## How sure

94 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.places import about_labels
from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"device-side assert", weight=40, when=about_labels),
    Seen(r"device-side assert", weight=39),
    lines=(
        r"device-side assert triggered",
        r"Assertion `.*` failed\.?$",
    ),
    also=("X401", "X405"),
)
