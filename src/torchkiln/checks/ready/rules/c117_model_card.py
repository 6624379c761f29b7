"""A model card states the licences of weights and data.

## What

card.md says under which licences the weights and the data stand.

## Why

Whoever serves a model answers for what is in it.

## Bad

```text
Licences: data unknown, weights unknown
```

## Good

```text
Licences: data CC-BY-4.0, weights Apache-2.0
```

## Fix

Say both in the bundle's card and manifest, or waive this item with the reason.

## How sure

90 %.
"""

from __future__ import annotations

import json

from torchkiln.checks.ready.material import Answer, Material, failed, passed

UNKNOWN = ("", "unknown", "none", "not stated", "not known")


def check(run: Material) -> Answer:
    """By card.md and the manifest's licences."""
    card = run.bundle / "card.md"
    if not card.is_file():
        return failed("there is no model card", f"torchkiln export {run.path}")
    try:
        licences = json.loads((run.bundle / "manifest.json").read_text())["licences"]
        known = {name: str(licences.get(name) or "") for name in ("weights", "data")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        known = {"weights": "", "data": ""}
    lacks = [name for name, said in known.items() if said.strip().lower() in UNKNOWN]
    if lacks:
        told = " ".join(f"--licence {name}=NAME" for name in lacks)
        return failed(f"{card.name} does not know the licence of the {' and of the '.join(lacks)}",
                      f"torchkiln export {run.path} --overwrite {told}")  # fmt: skip
    return passed(", ".join(f"{name} {said}" for name, said in known.items()))
