"""Values cannot become a tensor: texts, objects, rows of unequal length.

## What

A tensor is asked for of an array of objects or texts, of `None`, or of lists of unequal lengths.

## Why

A tensor holds numbers of one type in a full grid. A table's column with a missing value or a text becomes `object`
in numpy.

## Bad

```python
import numpy as np
import torch

torch.from_numpy(np.array([1, None], dtype=object))
```

## Good

```python
import numpy as np
import torch

torch.from_numpy(np.array([1, 0], dtype=np.float32))
```

## Fix

Make it numbers first: fill missing values, encode texts as indices, `array.astype(np.float32)`; pad rows to one
length.

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"can't convert np\.ndarray of type numpy\.\w+|too many dimensions 'str'|Could not infer dtype of|"
        r"expected sequence of length \d+ at dim|new\(\): invalid data type '?str|"
        r"At least one (?:of the strides|"
        r"stride) in the given numpy array is negative",
        kind="TypeError|ValueError|RuntimeError",
    ),
)
