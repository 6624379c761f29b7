"""What a run decided that is no function of (seed, step), kept so that any replay decides the same.

`decisions.jsonl` only grows, over all lives of a run: each line is on disk before it takes effect. A resume
cuts `metrics.csv` and `events.jsonl` back to its checkpoint, and never this file.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torchkiln.runs.directory import DECISIONS, append_line

Kind = Literal["stop", "parts", "eval_parts", "skip_batch", "skip_samples"]


@dataclass(frozen=True)
class Decision:
    """One decision.

    Args:
        kind: `stop`: training ends behind this step; `parts` and `eval_parts`: from this step on a batch is
            computed in so many parts; `skip_batch`: this batch is not trained on; `skip_samples`: nor are
            these samples of this epoch.
        step: Optimizer step at which it holds, or from which on.
        text: The reason, for people.
        epoch: The epoch, where it is about one.
        batch: The batch in its epoch, where it is about one.
        value: Parts, or indices of samples.
    """

    kind: Kind
    step: int
    text: str
    epoch: int | None = None
    batch: int | None = None
    value: Any = None


class Decisions:
    """All decisions of a run.

    Args:
        run: The run directory.
        writes: Whether this process is the one that writes files.
    """

    def __init__(self, run: Path, writes: bool = True) -> None:
        self.file, self.writes = run / DECISIONS, writes
        text = self.file.read_text() if self.file.is_file() else ""
        whole = text[: text.rfind("\n") + 1]
        if writes and whole != text:  # a line that a kill cut never took effect
            os.truncate(self.file, len(whole.encode()))
        self.made = [Decision(**json.loads(line)) for line in whole.splitlines()]

    def add(self, decision: Decision) -> None:
        """Note a decision, on disk first."""
        if decision in self.made:
            return
        if self.writes or decision.kind == "skip_samples":  # which each process finds among its own
            append_line(self.file, json.dumps(vars(decision), ensure_ascii=False))
            with self.file.open("rb") as written:
                os.fsync(written.fileno())
        self.made.append(decision)

    def stop_at(self) -> int | None:
        """The step behind which training ends, if that was decided."""
        return min((d.step for d in self.made if d.kind == "stop"), default=None)

    def parts(self, step: int, kind: Literal["parts", "eval_parts"] = "parts") -> int:
        """In how many parts a batch of this step is computed."""
        return max((d.value for d in self.made if d.kind == kind and d.step <= step), default=1)

    def skips(self, epoch: int, batch: int) -> bool:
        """Whether this batch is not trained on."""
        return any(d.kind == "skip_batch" and (d.epoch, d.batch) == (epoch, batch) for d in self.made)

    def skipped_samples(self) -> set[tuple[int, int]]:
        """(epoch, index) of each sample that is left out."""
        return {(d.epoch or 0, int(i)) for d in self.made if d.kind == "skip_samples" for i in d.value}
