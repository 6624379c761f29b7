"""Two tensors have shapes that do not fit each other.

## What

An operation on elements gets two tensors whose sizes differ in a dimension, and neither is 1 there.

## Why

A sum, product, comparison, mask, loss or assignment works element by element.

## Bad

```python
import torch

torch.ones(3, 4) + torch.ones(3, 5)
```

## Good

```python
import torch

torch.ones(3, 4) + torch.ones(3, 1)
```

## Fix

Print both shapes: a dimension is transposed, missing (`unsqueeze`) or was cut differently (padding, stride, length
of a sequence).

## How sure

92 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"The size of tensor a \((?P<a>\d+)\) must match the size of tensor b \((?P<b>\d+)\) at "
        r"non-singleton dimension (?P<dim>\d+)",
        weight=9,
    ),
    Seen(
        r"The expanded size of the tensor|shape mismatch: (?:value|indexing) tensor|The shape of the (?:mask|"
        r"2D attn_mask|3D attn_mask)|attn_mask is torch|"
        r"output with shape .* doesn't match the broadcast shape|Shapes? .* (?:is|are) not broadcastable|"
        r"must have the same (?:shape|size)|"
        r"does not match the shape of the indexed tensor|[Ii]nput and target (?:size|shape)",
        weight=9,
        kind="RuntimeError|IndexError|TorchRuntimeError",
        when=lambda f, c: "operands could not be broadcast" not in f.flat,
    ),
    fix="dimension {dim} of the two tensors in `{code}` is {a} and {b}: print both shapes; one is "
    "transposed, lacks a dimension (`unsqueeze`) or was cut differently.",
)
