"""What of a run is whole: every digest of every checkpoint, and what can be gone on from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torchkiln.errors import RunError
from torchkiln.runs import checkpoints
from torchkiln.runs.directory import RunDirectory


@dataclass(frozen=True)
class Checked:
    """One checkpoint.

    Args:
        name: Such as `step-00001234`.
        files, bytes: How many files it has, and how large they are together.
        fault: What is wrong with it; None if it is whole.
    """

    name: str
    files: int
    bytes: int
    fault: str | None


def verify(run: RunDirectory) -> dict[str, Any]:
    """Check every file of every checkpoint.

    Returns:
        `checkpoints` (each with `name`, `files`, `bytes`, `fault`), `resume_from` (the step that `--resume` would
        go on from; 0 where there is no checkpoint yet, None where none can be gone on from), `complete`, `best` (the
        step of the best weights; None where they are not whole), `ok`, and `text`, which says it in a sentence.

    Raises:
        RunError: The run directory is damaged in another way.
    """
    folder = run.path / "checkpoints"
    found = {p: [_checked(checkpoints.named(folder, p, s)) for s in checkpoints.steps(folder, p)]
             for p in (checkpoints.STEP, checkpoints.BEST)}  # fmt: skip
    states, best = found[checkpoints.STEP], _best(run, found[checkpoints.BEST])
    onward = max((_step(c) for c in states if not c.fault), default=None if states else 0)
    complete = run.finished("fit")
    result = {"run": str(run.path), "checkpoints": [asdict(c) for c in states + found[checkpoints.BEST]],
              "resume_from": onward, "complete": complete, "best": best}  # fmt: skip
    ok = best is not None if complete else onward is not None
    return {**result, "ok": ok, "text": _text(run.path, onward, complete, best)}


def lines(found: dict[str, Any]) -> list[str]:
    """The same for a terminal: a line a checkpoint, and the sentence last."""
    width = max((len(c["name"]) for c in found["checkpoints"]), default=0)
    rows = [
        f"{c['name']:{width}}  {'damaged: ' + c['fault'] if c['fault'] else 'whole'}"
        + (f", {c['files']} files, {c['bytes']:,} bytes" if not c["fault"] else "")
        for c in found["checkpoints"]
    ]
    return [*rows, found["text"]]


def _checked(path: Path) -> Checked:
    try:
        checkpoints.verify(path)
    except RunError as error:
        return Checked(path.name, 0, 0, str(error))
    sizes = [p.stat().st_size for p in path.iterdir()]
    return Checked(path.name, len(sizes), sum(sizes), None)


def _step(checked: Checked) -> int:
    return int(checked.name.rpartition("-")[2])


def _best(run: RunDirectory, found: list[Checked]) -> int | None:
    """The step of the best weights: those that the fit ended with, else the newest."""
    whole = [_step(c) for c in found if not c.fault]
    ended = run.read_json("best.json", {}).get("step")
    if ended is not None:
        return ended if ended in whole else None
    return max(whole, default=None)


def _text(run: Path, onward: int | None, complete: bool, best: int | None) -> str:
    weights = "no best weights are whole" if best is None else f"the best weights are those of step {best}"
    if complete:
        return f"{run}: training is complete; {weights}"
    if onward is None:
        return f"{run}: no checkpoint is whole, so there is nothing to go on from; {weights}"
    return f"{run}: torchkiln fit --resume {run} goes on from step {onward}; {weights}"
