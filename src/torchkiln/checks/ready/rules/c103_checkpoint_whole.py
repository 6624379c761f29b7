"""The checkpoint holds optimizer and scheduler.

## What

The last checkpoint is whole by its digests and holds the states of the optimizer and of the scheduler.

## Why

Weights alone begin a training anew: momentum and learning rate are gone.

## Bad

```text
checkpoints/step-00000012: weights.safetensors
```

## Good

```text
checkpoints/step-00000012: weights.safetensors, state.json, state.safetensors, MANIFEST.json
```

## Fix

Resume the run, which writes a checkpoint anew, or fall back to one before.

## How sure

99 %.
"""

from __future__ import annotations

from torchkiln.checks.ready.material import Answer, Material, failed, passed


def check(run: Material) -> Answer:
    """By the digests, and by the names in the state."""
    command = f"torchkiln fit --resume {run.path}"
    whole = [c for c in run.checked["checkpoints"] if c["name"].startswith("step-") and not c["fault"]]
    last = run.last_step()
    if last is None or last.name not in {c["name"] for c in whole}:
        return failed("no checkpoint to go on from is whole", command)
    state = (last / "state.json").read_text(errors="replace") if (last / "state.json").is_file() else ""
    lacks = [name for name in ("optimizer_states", "lr_schedulers") if f'"{name}"' not in state]
    if lacks:
        return failed(f"{last.name} lacks {' and '.join(lacks)}", command)
    return passed(f"{last.name} is whole and holds optimizer_states and lr_schedulers")
