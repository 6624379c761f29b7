"""Exported, and proven equal.

## What

A bundle exists, and each of its models was compared with the net on held-out rows and found equal within its gate.

## Why

What is served is the exported file, and not the net that was tested.

## Bad

```text
bundle/: model.onnx
```

## Good

```text
bundle/: model.onnx, parity.json (verdict: proven)
```

## Fix

Export the run: `torchkiln export RUN`.

## How sure

99 %.
"""

from __future__ import annotations

import json

from torchkiln.checks.ready.material import Answer, Material, failed, passed


def check(run: Material) -> Answer:
    """By the bundle's parity.json."""
    command = f"torchkiln export {run.path}"
    if not (run.bundle / "manifest.json").is_file():
        return failed("there is no bundle", command)
    file = run.bundle / "parity.json"
    try:
        files = json.loads(file.read_text())["files"]
        verdicts = {form: str(one["verdict"]) for form, one in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return failed("the bundle holds no proof (parity.json)", f"{command} --overwrite")
    wrong = [f"{form} is {verdict}" for form, verdict in verdicts.items() if verdict != "proven"]
    if wrong or not verdicts:
        return failed(", ".join(wrong) or "parity.json names no model", f"{command} --overwrite")
    return passed(f"{', '.join(verdicts)} proven equal on held-out rows")
