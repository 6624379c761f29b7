"""Latency and throughput are measured at the batch size to be served.

## What

The bundle was timed on the machine that serves it.

## Why

What a server can take is known before it is asked.

## Bad

```text
bundle/: no bench.json
```

## Good

```text
bundle/bench.json: batch 16, latency p50 2.1 ms, 7,600 rows/s
```

## Fix

Measure it there: `torchkiln bench RUN/bundle`.

## How sure

95 %.
"""

from __future__ import annotations

import json

from torchkiln.checks.ready.material import Answer, Material, failed, passed


def check(run: Material) -> Answer:
    """By the bundle's bench.json."""
    if not (run.bundle / "manifest.json").is_file():
        return failed("there is no bundle", f"torchkiln export {run.path} && torchkiln bench {run.bundle}")
    command = f"torchkiln bench {run.bundle}"
    try:
        found = json.loads((run.bundle / "bench.json").read_text())
        best, machine = found["best"], found["machine"]
        row = next(r for r in found["rows"] if r["batch"] == best["batch"] and r["threads"] == best["threads"])
        speed = f"{row['latency_ms']:.3g} ms, {row['rows_per_second']:,.0f} rows/s"
        said = f"batch {row['batch']}: {speed} on {machine['cpu']}"
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return failed("the bundle was not timed (bench.json)", command)
    return passed(said)
