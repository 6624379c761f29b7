"""cuBLAS failed.

## What

A matrix product on the GPU ends with a status of cuBLAS.

## Why

Memory ran out as its handle was made, an index error before corrupted the device, half precision met sizes it
cannot do, or the libraries do not fit the driver.

## Bad

```text
RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`
```

## Good

```sh
CUDA_LAUNCH_BLOCKING=1 python train.py
```

## Fix

Halve the batch to see whether it is memory; run one batch on the CPU, where a wrong shape or label is named; then
check that `torch.version.cuda` fits the driver (`nvidia-smi`).

## How sure

92 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"CUBLAS_STATUS_|cublas runtime error|cublasLt", weight=35),
    also=("X101", "X901"),
)
