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
        lacks: What is wrong with the best weights that it speaks of.
    """

    name: str
    files: int
    bytes: int
    fault: str | None
    lacks: str | None


def verify(run: RunDirectory) -> dict[str, Any]:
    """Check every file of every checkpoint.

    Returns:
        `checkpoints` (each with `name`, `files`, `bytes`, `fault`, `lacks`); `resume_from` (the step that `--resume`
        would go on from; 0 where there is no checkpoint yet, None where none is whole); `complete` (training ended,
        and its best weights are whole); `best` (their step, if they are); `ok`; and `text`, which says it in a
        sentence.

    Raises:
        RunError: The run directory is damaged in another way.
    """
    folder = run.path / "checkpoints"
    found = {p: [_checked(checkpoints.named(folder, p, s)) for s in checkpoints.steps(folder, p)]
             for p in (checkpoints.STEP, checkpoints.BEST)}  # fmt: skip
    states, best = found[checkpoints.STEP], _best(run, found[checkpoints.BEST])
    whole = [c for c in states if not c.fault]
    onward = max((_step(c) for c in [x for x in whole if not x.lacks] or whole), default=None if states else 0)
    complete = run.finished("fit") and best is not None
    result = {"run": str(run.path), "checkpoints": [asdict(c) for c in states + found[checkpoints.BEST]],
              "resume_from": onward, "complete": complete, "best": best}  # fmt: skip
    return {**result, "ok": complete or onward is not None, "text": _text(run.path, onward, complete, best)}


def lines(found: dict[str, Any]) -> list[str]:
    """The same for a terminal: a line a checkpoint, and the sentence last."""
    width = max((len(c["name"]) for c in found["checkpoints"]), default=0)
    said = []
    for c in found["checkpoints"]:
        state = f"damaged: {c['fault']}" if c["fault"] else f"whole, {c['files']} files, {c['bytes']:,} bytes"
        said.append(f"{c['name']:{width}}  {state}" + (f", but {c['lacks']}" if c["lacks"] else ""))
    return [*said, found["text"]]


def _checked(path: Path) -> Checked:
    try:
        checkpoints.check_files(path)
        lacks = checkpoints.lacks(path)
    except RunError as error:
        return Checked(path.name, 0, 0, str(error), None)
    sizes = [p.stat().st_size for p in path.iterdir()]
    return Checked(path.name, len(sizes), sum(sizes), None, lacks)


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
