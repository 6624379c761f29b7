"""The data set is empty.

## What

A loader or sampler gets a data set of length 0, or a split takes more than there is.

## Why

A path or pattern that matches no file, a filter that leaves nothing, or labels without their pictures.

## Bad

```python
from torch.utils.data import DataLoader

DataLoader([], shuffle=True)
```

## Good

```python
from torch.utils.data import DataLoader

DataLoader([1], shuffle=True)
```

## Fix

Print `len(dataset)` and the path that it reads: a relative path starts at the working directory.

## How sure

96 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"num_samples should be a positive integer value, but got num_samples=0|Found 0 (?:files|images)|"
        r"Found no valid file for the classes|Couldn't find any class folder|"
        r"Sum of input lengths does not equal the length of the input dataset|train set will be empty|"
        r"[Dd]ata ?set is empty|`?Dataloader`? returned 0 length"
    ),
)
