"""The environment is locked.

## What

Exact versions are recorded, and a lock file stands with the run or the project.

## Why

The same recipe on other versions is another experiment.

## Bad

```text
requirements.txt: torch
```

## Good

```text
requirements.txt: torch==2.14.1
```

## Fix

Write one beside the run: `python -m pip freeze > RUN/requirements.txt`.

## How sure

93 %.
"""

from __future__ import annotations

import re
from pathlib import Path

from torchkiln.checks.ready.material import Answer, Material, failed, passed

LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml", "conda-lock.yml", "pixi.lock",
         "requirements.txt", "requirements.lock", "constraints.txt")  # fmt: skip


def check(run: Material) -> Answer:
    """By a lock file that names the torch that trained."""
    torch = str((run.environment.get("versions") or {}).get("torch") or "")
    command = f"python -m pip freeze > {run.path / 'requirements.txt'}"
    if not torch:
        return failed("environment.json names no version of torch", command)
    pinned = re.compile(
        rf"(?:\btorch==|name = \"torch\"\s+version = \"|\btorch[-=]){re.escape(torch.partition('+')[0])}\b"
    )
    for folder in (run.path, Path()):
        for name in LOCKS:
            file = folder / name
            if file.is_file() and pinned.search(file.read_text(errors="replace")):
                return passed(f"{file} locks torch {torch} and the rest; environment.json names what ran")
    return failed(f"no lock file with torch {torch} stands in the run or here", command)
