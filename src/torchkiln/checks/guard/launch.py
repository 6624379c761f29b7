"""Starts a command with guard in every Python of it; its output and exit code pass through."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchkiln.checks import catalogue
from torchkiln.checks.finding import Finding
from torchkiln.checks.guard.hook import FOLDER
from torchkiln.errors import InputError

OUTSIDE = Path(__file__).parent / "outside"
LOOK_EVERY = 0.5
"""Seconds between two looks at what was found so far."""


@dataclass
class Watched:
    """What came of a command.

    Args:
        code: Its exit code; of one that a signal ended 128 and the signal's number.
        findings: Of all its processes, each once.
        steps: The most that a process took.
        processes: That imported torch.
        faults: What guard itself could not do, a sentence each.
    """

    code: int = 0
    findings: list[Finding] = field(default_factory=list)
    steps: int = 0
    processes: int = 0
    faults: list[str] = field(default_factory=list)


def watch(command: Sequence[str], tell: Callable[[Finding], None], stdout: Any = None) -> Watched:
    """Run a command to its end.

    Args:
        command: Its words.
        tell: Is given each finding as it comes.
        stdout: Where the command's own output goes, a file; by default where ours does.

    Raises:
        InputError: There is no such command.
    """
    words = list(command)
    if not words:
        raise InputError("guard needs a command: torchkiln guard -- python train.py")
    if shutil.which(words[0]) is None:
        raise InputError(
            f"there is no command {words[0]!r}; write it as in a shell: torchkiln guard -- python train.py"
        )
    with tempfile.TemporaryDirectory(prefix="torchkiln-guard-") as folder:
        gathered = _Gathered(Path(folder), tell)
        process = subprocess.Popen(words, env=_environment(Path(folder)), stdout=stdout)
        for number in (signal.SIGTERM, signal.SIGINT):  # the command decides what becomes of them
            if threading.current_thread() is threading.main_thread():
                signal.signal(number, lambda n, _: process.send_signal(n) if n == signal.SIGTERM else None)
        while True:
            try:
                code = process.wait(LOOK_EVERY)
                break
            except subprocess.TimeoutExpired:
                gathered.look()
        gathered.look()
        return gathered.closed(128 - code if code < 0 else code)


def for_itself(command: Sequence[str]) -> tuple[list[str], bool]:
    """A command, and whether a `--json` at its end is ours: it is unless the program speaks of one itself."""
    words = list(command)
    if words[-1:] != ["--json"]:
        return words, False
    scripts = [Path(w) for w in words[:-1] if w.endswith(".py") and Path(w).is_file()]
    takes_it = any("--json" in script.read_text(encoding="utf-8", errors="replace") for script in scripts)
    return (words, False) if takes_it or not scripts else (words[:-1], True)


def lines(finding: Finding) -> list[str]:
    """A finding for people: what and where, why, and the mend."""
    at = f"{finding.file}:{finding.line}: " if finding.file else ""
    step = f" (step {finding.step})" if finding.step is not None else ""
    return [
        f"{finding.state} {finding.rule} {at}{finding.message}{step}",
        f"    why: {finding.why}",
        f"    fix: {finding.fix}",
    ]


def command_line(command: Sequence[str], *, json_to: str | None, strict: bool) -> int:
    """Run a command for a person or a machine, and return the exit code.

    Args:
        command: Its words.
        json_to: A file for the findings; `-` prints them, and what the command prints goes to stderr.
        strict: Return 1 where a FAIL was found and the command ended well.
    """
    words, ours = for_itself(command)
    json_to = "-" if ours and json_to is None else json_to

    def tell(finding: Finding) -> None:
        if json_to != "-" and finding.state != "PASS":
            print("\n".join(f"torchkiln guard: {line}" for line in lines(finding)), file=sys.stderr, flush=True)  # noqa: T201

    found = watch(words, tell, stdout=sys.stderr if json_to == "-" else None)
    text = json.dumps([f.as_json() for f in found.findings], ensure_ascii=False)
    if json_to == "-":
        print(text, flush=True)  # noqa: T201
    elif json_to:
        Path(json_to).write_text(text + "\n", encoding="utf-8")
    for fault in found.faults:
        print(f"torchkiln guard: {fault}", file=sys.stderr)  # noqa: T201
    if json_to != "-":
        print(f"torchkiln guard: {summary(found)}", file=sys.stderr)  # noqa: T201
    return 1 if strict and found.code == 0 and any(f.state == "FAIL" for f in found.findings) else found.code


def summary(found: Watched) -> str:
    """One sentence at the end."""
    if not found.processes:
        return "nothing was watched: the command ran no Python that imports torch"
    states = [f.state for f in found.findings]
    counts = ", ".join(f"{states.count(s)} {s}" for s in ("FAIL", "WARN") if s in states) or "nothing found"
    return f"{counts} in {found.steps} steps"


def _environment(folder: Path) -> dict[str, str]:
    path = os.pathsep.join([str(OUTSIDE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, FOLDER: str(folder)}


class _Gathered:
    """Reads what the processes write, as it comes."""

    def __init__(self, folder: Path, tell: Callable[[Finding], None]) -> None:
        self.folder, self.tell = folder, tell
        self.found = Watched()
        self.read: dict[Path, int] = {}
        self.notes: list[dict[str, Any]] = []
        self.known: set[tuple[Any, ...]] = set()

    def look(self) -> None:
        """Take in the whole lines that came since the last look."""
        for file in sorted(self.folder.glob("*.jsonl")):
            with file.open("rb") as opened:
                opened.seek(self.read.get(file, 0))
                data = opened.read()
            whole = data[: data.rfind(b"\n") + 1]
            self.read[file] = self.read.get(file, 0) + len(whole)
            for line in whole.splitlines():
                self._take(json.loads(line))

    def _take(self, line: dict[str, Any]) -> None:
        if "finding" in line:
            self._add(Finding(**line["finding"]))
        elif "note" in line:
            self.notes.append(line["note"])
        elif "fault" in line:
            self.found.faults.append(f"could not watch a process: {line['fault']}")
        elif "begun" in line:
            self.found.processes += 1
        elif "end" in line:
            self.found.steps = max(self.found.steps, line["end"]["steps"])
            self.found.faults += [
                f"a rule was left out after a fault of its own: {f}" for f in line["end"]["rules_left_out"]
            ]

    def _add(self, finding: Finding) -> None:
        key = (finding.rule, finding.state, finding.file, finding.line, finding.message)
        if key not in self.known:
            self.known.add(key)
            self.found.findings.append(finding)
            self.tell(finding)

    def closed(self, code: int) -> Watched:
        """All of it, with what only shows beside one another."""
        sums: dict[int, dict[int, str]] = {}
        for note in self.notes:
            sums.setdefault(note["step"], {})[note["rank"]] = note["sum"]
        for step, of_rank in sums.items():
            if len(set(of_rank.values())) > 1:
                page = catalogue.page("R512")
                said = ", ".join(f"{value} on rank {rank}" for rank, value in sorted(of_rank.items())[:3])
                text = f"after {step} steps the parameters of the processes differ: their sums are {said}"
                self._add(Finding(rule="R512", state="FAIL", title=page.title, message=text, why=page.why, fix=page.fix,
                                  confidence=page.confidence, step=step))  # fmt: skip
        self.found.code = code
        return self.found
