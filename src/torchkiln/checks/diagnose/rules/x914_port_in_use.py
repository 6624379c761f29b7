"""The rendezvous port is taken.

## What

Another program listens on MASTER_PORT.

## Why

A second job on one machine, or the leftovers of an earlier one.

## Bad

```text
torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. port:
29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use
```

## Good

```sh
torchrun --standalone --nproc-per-node 2 train.py
```

## Fix

Choose another port (`torchrun --master-port 29501`, or `--standalone` on one machine), and end what is left of an
earlier run.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"EADDRINUSE|server socket has failed|TCPStore.*[Aa]ddress already in use", weight=20, kind="Error"),
    Seen(r"[Aa]ddress already in use", weight=20, kind="Error", frame=r"torch/distributed|rendezvous|TCPStore"),
    lines=(r"EADDRINUSE|errno: 98",),
)
