"""This build of torch has no code for this GPU.

## What

A kernel has no image for the card: the card is newer, or older, than the build of torch.

## Why

Builds hold code for a list of architectures (`torch.cuda.get_arch_list()`), and the card's is not in it.

## Bad

```text
RuntimeError: CUDA error: no kernel image is available for execution on the device
```

## Good

```sh
pip install --upgrade torch
```

## Fix

Install a torch that was built for the card's architecture: the newest release for a new card, an older one for an
old card.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"no kernel image is available|device kernel image is invalid|"
        r"sm_\d+ is not compatible with the current PyTorch|"
        r"CUDA error: the provided PTX was compiled with an unsupported toolchain|"
        r"too old\b.*(?:PyTorch no longer supports this GPU)"
    ),
)
