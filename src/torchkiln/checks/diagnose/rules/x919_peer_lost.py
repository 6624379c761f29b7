"""Another process of the group is gone.

## What

A connection is closed by a peer in the midst of a collective.

## Why

The other rank failed first; its error is the cause.

## Bad

```text
RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.4]:41230
```

## Good

```sh
torchrun --redirects 3 --log-dir logs train.py
```

## Fix

Look for the first error in the logs of the other ranks (or for "Killed" in `dmesg`): this process only noticed.

## How sure

90 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"gloo.*(?:Connection (?:closed|reset) by|Broken pipe|[Ss]ocket closed)|"
        r"Connection closed by peer \[[\w.:]+\]|"
        r"remote process exited|Failed to recv, got 0 bytes|recvValue failed",
        weight=19,
        follows=True,
    ),
    Seen(
        r"Connection (?:closed|reset) by (?:remote )?peer",
        frame=r"torch/distributed/|torch/nn/parallel/",
        weight=19,
        follows=True,
    ),
)
