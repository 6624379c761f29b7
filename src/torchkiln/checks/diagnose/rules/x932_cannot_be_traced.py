"""`torch.compile` cannot trace this code.

## What

Dynamo meets code that it cannot put into a graph, where a whole graph is wanted (`fullgraph=True`, `torch.export`),
or recompiles without end.

## Why

Branches on values of tensors, prints, unsupported calls, or shapes that change.

## Bad

```text
torch._dynamo.exc.Unsupported: Data-dependent branching
  Explanation: Detected data-dependent branching (e.g. `if my_tensor.sum() > 0:`).
from user code:
   File "train.py", line 7, in forward
    if x.sum() > 0:
```

## Good

```python
x = torch.where(x.sum() > 0, x, -x)
```

## Fix

Write branches on values as `torch.where`, take the part out by `@torch.compiler.disable`, or leave `fullgraph=True`
out; TORCH_LOGS=graph_breaks names each place.

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        kind=r"torch\._dynamo\.exc\.(?:Unsupported|UserError|FailOnRecompileLimitHit|RecompileLimitExceeded)|"
        r"GuardOnDataDependentSymNode",
        weight=7,
    ),
    Seen(
        r"[Dd]ata-dependent (?:branching|jump|control flow|expression)|[Cc]ould not guard on data-dependent|"
        r"[Gg]raph break",
        weight=24,
        kind="Unsupported|UserError|Error",
    ),
)
