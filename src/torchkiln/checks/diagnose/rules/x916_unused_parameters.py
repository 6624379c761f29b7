"""DDP waits for gradients of parameters that the loss does not use.

## What

`Expected to have finished reduction in the prior iteration`.

## Why

A branch, head or layer took no part in the loss of a step, so that its gradients never come.

## Bad

```text
RuntimeError: Expected to have finished reduction in the prior iteration before starting a new one. This error
indicates that your module has parameters that were not used in producing loss.
```

## Good

```python
model = DistributedDataParallel(model, device_ids=[rank], find_unused_parameters=True)
```

## Fix

Take the parameters out that are never used (TORCH_DISTRIBUTED_DEBUG=DETAIL names them), or set
`find_unused_parameters=True` (Lightning: `strategy="ddp_find_unused_parameters_true"`).

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"Expected to have finished reduction in the prior iteration|"
        r"parameters that were not used in producing (?:the )?loss",
        weight=30,
    ),
)
