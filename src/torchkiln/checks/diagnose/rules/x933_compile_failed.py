"""`torch.compile` failed in its backend.

## What

The backend raised while it turned a graph into code.

## Why

An operation that the backend cannot do yet, or a bug in it.

## Bad

```text
torch._dynamo.exc.BackendCompilerFailed: backend='inductor' raised:
LoweringException: AssertionError:
```

## Good

```python
model = torch.compile(model, backend="aot_eager")
```

## Fix

Try `backend="aot_eager"` and `"eager"` to see which part fails, `mode="default"`, a newer torch, or train without
compiling.

## How sure

92 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        kind="BackendCompilerFailed|InductorError|LoweringException|CppCompileError|InternalTorchDynamoError|C"
        "ompilationError",
        weight=15,
    ),
    Seen(
        r"backend='\w+' raised|[Dd]ynamo is not supported on|"
        r"[Ww]indows not (?:yet )?supported for torch\.compile|C\+\+ compile error|LoweringException|"
        r"InductorError",
        weight=15,
        kind="Error|Failed|Exception",
    ),
)
