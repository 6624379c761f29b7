"""An index is beyond the embedding table.

## What

An embedding gets an index that is not smaller than its `num_embeddings`, or a negative one.

## Why

The vocabulary grew (special tokens, padding), a tokenizer of another model is used, a sequence is longer than the
position table, or a category was unseen.

## Bad

```python
import torch
from torch import nn

table = nn.Embedding(5, 2)
table(torch.tensor([5]))
```

## Good

```python
import torch
from torch import nn

table = nn.Embedding(6, 2)
table(torch.tensor([5]))
```

## Fix

Make `num_embeddings` the largest index + 1 (`model.resize_token_embeddings(len(tokenizer))`), cut sequences to the
position table's length, and map unseen values to an index of their own.

## How sure

96 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"index out of range in self|of input takes value \S+ which is not in the valid range|"
        r"index out of range: Tried to access index \d+ out of table with"
    ),
    Seen(
        r"index out of range|is out of bounds", frame=r"torch/nn/modules/sparse\.py|in embedding|:embedding:", weight=13
    ),
    fix="an index given to `{layer}` is not in its table: make `num_embeddings` the largest index + 1, or "
    "look where `{given}` gets it from.",
)
