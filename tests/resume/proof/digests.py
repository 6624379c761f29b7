"""What the promise covers of a run directory, as digests by name, so that two of them can be compared."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from torchkiln.runs import checkpoints

FILES = ("metrics.csv", "steps.csv", "schedule.csv", "test.json", "best.json", "recipe.yaml", "mistakes.json",
         "predictions.parquet", "stages.json")  # fmt: skip
CLOCK_KEYS = {"elapsed", "timings.csv", "events.jsonl"}
"""Of `state.json`: seconds of training so far, lengths of files that hold clock times or tell of resumes."""
LIVES = {"guard", "recovery", "resume"}
"""Kinds of events that tell of the lives of a run (guard looks closely at the first steps of each),
and so are not there in one that had a single life."""


def of(run: Path) -> dict[str, str]:
    """Digests by name; texts stand as they are, so that a difference can be read."""
    found = {name: _content(run / name) for name in FILES if (run / name).is_file()}
    for name in ("events.jsonl", "decisions.jsonl"):
        found[name] = _events(run / name)
    for prefix in ("best", "step"):
        newest = checkpoints.newest(run / "checkpoints", prefix)
        found[prefix] = newest.name if newest else "none"
        for file in sorted(newest.iterdir()) if newest else ():
            if file.suffix == ".safetensors":
                found[f"{prefix}/{file.name}"] = _digest(file)
    newest = checkpoints.newest(run / "checkpoints", "step")
    if newest:
        found["step/state.json"] = json.dumps(_without_clock(json.loads((newest / "state.json").read_text())))
    return found


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """One line for each thing that differs."""
    lines = []
    for name in sorted({*one, *other}):
        a, b = one.get(name), other.get(name)
        if a != b:
            lines.append(f"{name}: {_first_difference(a, b)}")
    return lines


def _first_difference(a: str | None, b: str | None) -> str:
    if a is None or b is None:
        return "absent in " + ("the first" if a is None else "the second")
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    begin = max(0, at - 60)
    return f"...{a[begin : at + 60]!r} / {b[begin : at + 60]!r}"


def _content(file: Path) -> str:
    if file.suffix == ".parquet":
        return _digest(file)
    lines = file.read_text().splitlines()
    return "\n".join(line for line in lines if not line.strip().startswith("checkpoint_every"))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _events(file: Path) -> str:
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    return "\n".join(json.dumps(line) for line in lines if line["kind"] not in LIVES)


def _without_clock(value: Any) -> Any:
    """The tree of a `state.json`, whose dicts are lists of pairs under `is`, without what follows a clock."""
    if isinstance(value, list):
        return [_without_clock(v) for v in value]
    if not isinstance(value, dict):
        return value
    if value.get("$") == "dict":
        pairs = [[k, _without_clock(v)] for k, v in value["is"] if k not in CLOCK_KEYS]
        return {"$": "dict", "is": pairs}
    return {k: _without_clock(v) for k, v in value.items()}
