"""cuDNN failed.

## What

A convolution or recurrent layer on the GPU ends with a status of cuDNN.

## Why

Memory ran out, a tensor is not contiguous or too large, or the cuDNN that was loaded is not the one torch was built
with.

## Bad

```text
RuntimeError: cuDNN error: CUDNN_STATUS_NOT_INITIALIZED
```

## Good

```sh
unset LD_LIBRARY_PATH
python train.py
```

## Fix

Halve the batch to see whether it is memory; unset LD_LIBRARY_PATH so that torch finds its own cuDNN;
`torch.backends.cudnn.enabled = False` shows the error behind it.

## How sure

92 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"CUDNN_STATUS_|cuDNN error|[Uu]nable to find (?:a valid cuDNN|an engine to execute)|"
        r"FIND was unable to find an engine|GET was unable to find an engine|cuDNN version incompatibility",
        weight=35,
    ),
    also=("X101",),
)
