"""NCCL failed.

## What

A collective on GPUs ends with an error of NCCL.

## Why

The network interface or its address cannot be reached, shared memory is too small, versions differ between
machines, or a process died.

## Bad

```text
torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1970, unhandled system error (run with
NCCL_DEBUG=INFO for details), NCCL version 2.20.5
ncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error.
```

## Good

```sh
NCCL_DEBUG=INFO NCCL_SOCKET_IFNAME=eth0 torchrun --nproc-per-node 2 train.py
```

## Fix

Run with NCCL_DEBUG=INFO and read its first WARN; name the interface by NCCL_SOCKET_IFNAME, enlarge /dev/shm, and
set `torch.cuda.set_device(local_rank)` before the group is made.

## How sure

92 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"NCCL error|ncclSystemError|ncclInternalError|ncclUnhandledCudaError|ncclInvalidUsage|"
        r"ncclRemoteError|NCCL Error \d",
        weight=20,
    ),
    lines=(r"ncclSystemError|ncclInternalError|ncclUnhandledCudaError|ncclRemoteError",),
)
