"""The checkpoint is damaged, cut off, or no checkpoint.

## What

The file cannot be read as what `torch.save` or safetensors writes.

## Why

A write that was interrupted (full disk, kill), a download that stopped, a pointer of Git LFS, or a web page in its
place.

## Bad

```python
import io

import torch

torch.load(io.BytesIO(b"<html>"))
```

## Good

```python
import io

import torch

file = io.BytesIO()
torch.save([1], file)
file.seek(0)
torch.load(file)
```

## Fix

Look at its size and first bytes (`ls -l`, `head -c 100`), fetch or write it again (`git lfs pull`), and fall back
to the checkpoint before; write to another name and rename.

## How sure

94 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.places import reading
from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"PytorchStreamReader failed|failed finding central directory|invalid load key|"
        r"pickle data was truncated|unexpected EOF, expected \d+ more bytes|file might be corrupted|"
        r"[Ee]rror while deserializing header|(?:HeaderTooLarge|InvalidHeader|MetadataIncompleteBuffer)|"
        r"Invalid magic number; corrupt file|Ran out of input|"
        r"Unsupported operand (?:10|32|35|60|118|123|137)\b",
        weight=16,
        when=reading,
    ),
)
