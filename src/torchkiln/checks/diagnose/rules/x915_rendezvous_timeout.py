"""The processes did not find one another.

## What

A rank waits for the master, or the master for ranks, until the time is up.

## Why

A wrong MASTER_ADDR, a firewall, another number of processes or nodes than WORLD_SIZE says, or a master that died.

## Bad

```text
torch.distributed.DistNetworkError: The client socket has timed out after 600000ms while trying to connect to
(10.0.0.4, 29500).
```

## Good

```sh
torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint node0:29500 train.py
```

## Fix

Check that MASTER_ADDR:MASTER_PORT can be reached from each machine (`nc -vz node0 29500`), that `--nnodes` and
`--nproc-per-node` are what is started, and that all name one endpoint.

## How sure

94 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"client socket has (?:timed out|failed to connect)|"
        r"Timed out (?:after \d+ seconds )?waiting for clients|RendezvousTimeoutError|"
        r"RendezvousConnectionError|connection to the C10d store has failed|(?:Store|store) timeout|"
        r"wait timeout after \d+ms|Socket Timeout|timed out initializing process group in store",
        weight=20,
        kind="Error",
    ),
    Seen(kind="RendezvousTimeoutError|RendezvousConnectionError", weight=20),
)
