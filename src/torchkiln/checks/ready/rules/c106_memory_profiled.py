"""Memory is profiled: its peak and its headroom.

## What

The peak of training is known, and what a step needs beside what was free.

## Why

A run that only just fits fails on the first longer batch.

## Bad

```text
a step needs about 21 GB, and 22 GB are free
```

## Good

```text
a step needs about 9 GB, and 22 GB are free
```

## Fix

Take smaller parts of a batch (`train.micro_batch`), or a device with more memory.

## How sure

90 %.
"""

from __future__ import annotations

import re

from torchkiln.checks.ready.material import Answer, Material, failed, passed

UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
FIGURES = re.compile(r"a step needs about ([\d.,]+) (\wB), and ([\d.,]+) (\wB) are free")
MOST = 0.9
"""Of what was free, what a step may need."""


def check(run: Material) -> Answer:
    """By environment.json's peak and the plan's figures."""
    command = f"torchkiln plan {run.path}/recipe.yaml train.micro_batch=auto"
    peak = run.environment.get("peak_memory_mb")
    found = FIGURES.search(str(run.plan.get("train.micro_batch", {}).get("why", "")))
    if not isinstance(peak, int | float) or found is None:
        return failed("the peak or the headroom was not measured", command)
    needs, free = (float(found[i].replace(",", "")) * UNITS.get(found[i + 1], 1e6) for i in (1, 3))
    said = f"the peak was {peak:,.0f} MB; {found[0]}"
    return passed(said) if needs <= MOST * free else failed(f"{said}, which leaves less than 10 %", command)
