"""A layer with a fixed width gets another one.

## What

A normalisation, a recurrent layer or an attention gets a last (or channel) dimension that it was not built for, or
is built with numbers that do not divide.

## Why

`normalized_shape`, `num_features`, `input_size` and `embed_dim` must be what comes from the layer before;
`embed_dim` must divide by the heads.

## Bad

```python
import torch
from torch import nn

nn.LayerNorm(3)(torch.ones(4, 5))
```

## Good

```python
import torch
from torch import nn

nn.LayerNorm(5)(torch.ones(4, 5))
```

## Fix

Build it with the width that comes, or transpose so that features are where it looks for them (`batch_first=True`
for sequences).

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"Given normalized_shape=|running_mean should contain \d+ elements|weight should contain \d+ elements|"
        r"Expected weight to be a vector of size|input\.size\(-1\) must be equal to input_size|"
        r"Expected hidden(?:\[\d\])? (?:batch )?size|was expecting embedding dimension of|"
        r"embed_dim must be divisible by num_heads|must be divisible by num_(?:heads|groups)|"
        r"[Ee]xpected (?:query|key|value)'?s? .*embed|num_channels must be divisible|"
        r"Expected number of channels in input to be divisible|"
        r"shape of input .*does not match .*normalized_shape|(?:the feature number of src and tgt|"
        r"the batch number of src and tgt) must be equal"
    ),
)
