"""The run directory: plain files, each written whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import errno
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchkiln.errors import RunError
from torchkiln.registry import did_you_mean
from torchkiln.runs import lock

RECIPE, DECISIONS = "recipe.yaml", "decisions.jsonl"
EVENTS = "events.jsonl"
FULL_DISK = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
"""What the system answers where nothing more can be written."""
CHILD, CHILD_RESUMES = "TORCHKILN_RUN", "TORCHKILN_RESUMES"
"""Variables that tell the further processes that Lightning starts the run directory, and whether it goes on."""

_MOST_REMEMBERED = 16 << 20


@dataclass(frozen=True)
class Place:
    """Where a run is to be.

    Args:
        path: The directory.
        overwrite: Replace a run that is there, once the input is known to be good.
    """

    path: Path
    overwrite: bool = False


class RunDirectory:
    """One run's files.

    Args:
        path: The directory; use `create` and `open`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._remembered: dict[str, bytes] = {}

    @classmethod
    def create(cls, path: str | Path, overwrite: bool = False) -> RunDirectory:
        """A new, empty run directory.

        Raises:
            RunError: It exists and `overwrite` is false, holds something that is no run, or cannot be
                written.
        """
        path = Path(path)
        cls.check_free(path, overwrite)
        try:
            _clear(path)
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
            probe = path / ".writable"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise RunError(f"{path}: the run directory cannot be written ({error.strerror}); choose another "
                           "with --out") from error  # fmt: skip
        return cls(path)

    @staticmethod
    def check_free(path: str | Path, overwrite: bool = False) -> None:
        """Whether `create` would take the place of nothing that is to be kept, and could write.

        Raises:
            RunError: It exists and `overwrite` is false, holds something that is no run, or lies where
                nothing can be written.
        """
        path = Path(path)
        lock.refuse_if_held(path)
        if path.exists() and not path.is_dir():
            raise RunError(f"{path} is a file; choose another run directory with --out")
        there = next(p for p in (path, *path.absolute().parents) if p.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise RunError(f"{path}: the run directory cannot be written, since {there} cannot; choose another "
                           "with --out")  # fmt: skip
        holds = sorted(p.name for p in path.iterdir() if p.name != lock.NAME) if path.exists() else []
        if holds and RECIPE not in holds and "checkpoints" not in holds:
            raise RunError(f"{path} is not empty and is no run directory (it holds {holds[0]}); choose another "
                           "with --out")  # fmt: skip
        if holds and not overwrite:
            raise RunError(f"{path} holds a run already; go on with it by --resume {path}, start again by "
                           "--overwrite, or choose another with --out")  # fmt: skip

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """A run directory that exists.

        Raises:
            RunError: There is none, or something in it is a link to elsewhere.
        """
        path = Path(path)
        if not (path / RECIPE).is_file():
            beside = [p.name for p in path.parent.glob("*") if (p / RECIPE).is_file()]
            found = "is no run directory (it holds no recipe.yaml)" if path.exists() else "does not exist"
            raise RunError(f"{path} {found}{did_you_mean(path.name, beside) if beside else ''}")
        inside = path.resolve()
        for entry in path.iterdir():
            if entry.is_symlink() and not entry.resolve().is_relative_to(inside):
                raise RunError(f"{entry} is a link out of the run directory, where nothing may be read or written; put "
                               "the real file there")  # fmt: skip
        return cls(path)

    def remember(self) -> None:
        """Keep what the run began with in memory, so that it can be made again if somebody removes the directory."""
        names = [p for p in self.path.iterdir() if p.suffix in (".json", ".yaml") and p.is_file()]
        self._remembered = {p.name: p.read_bytes() for p in names if p.stat().st_size <= _MOST_REMEMBERED}

    def _mend(self) -> None:
        """Make a directory again that was removed while the run went on."""
        if not self._remembered or (self.path / RECIPE).is_file():
            return
        (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        for name, content in self._remembered.items():
            if not (self.path / name).exists():
                write_atomic(self.path / name, content)
        self.event("resume", "the run directory was removed while the run went on; it is made again, without the rows "
                   "and weights written so far", "warn")  # fmt: skip

    def write_text(self, name: str, text: str) -> None:
        """Write a file atomically: a reader sees the old content or the new."""
        self._mend()
        write_atomic(self.path / name, text.encode())

    def write_json(self, name: str, data: Any) -> None:
        """Write data as JSON, atomically; NaN becomes null, which JSON lacks."""
        self.write_text(name, json.dumps(_plain(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    def read_json(self, name: str, default: Any = None) -> Any:
        """A JSON file's content, or `default` where it does not exist.

        Raises:
            RunError: It cannot be read as JSON.
        """
        file = self.path / name
        if not file.is_file():
            return default
        try:
            return json.loads(file.read_text())
        except ValueError as error:
            raise RunError(f"{file} is damaged ({error})") from error

    def event(
        self, kind: str, text: str, level: str = "note", step: int | None = None,
        epoch: int | None = None, **more: Any,
    ) -> None:  # fmt: skip
        """Add a line to events.jsonl; of the kind `resume` where it is about the going on itself and no step."""
        self._mend()
        line = {"step": step, "epoch": epoch, "kind": kind, "level": level, "text": text, **more}
        append_line(self.path / EVENTS, json.dumps(_plain(line), ensure_ascii=False))

    def end_promise(self, reason: str) -> bool:
        """Say in the run for good, and once, why it does not end bitwise as a whole one would; False if it is known."""
        known = self.read_json("environment.json", {})
        if reason in known.get("not_bitwise", []):
            return False
        self.write_json("environment.json", {**known, "not_bitwise": [*known.get("not_bitwise", []), reason]})
        self.event("resume", f"not bitwise: {reason}", "warn")
        return True

    def events(self) -> list[dict[str, Any]]:
        """All lines of events.jsonl."""
        file = self.path / EVENTS
        return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []

    def rows(self, table: str) -> list[dict[str, str]]:
        """The rows of `metrics`, `timings`, `steps` or `schedule`, as text; empty where there are none."""
        file = self.path / f"{table}.csv"
        if not file.is_file():
            return []
        with file.open(newline="") as lines:
            return list(csv.DictReader(lines))

    def append_row(self, table: str, row: Mapping[str, Any]) -> None:
        """Add a row to a table; the first one gives the columns."""
        self.append_rows(table, [row])

    def append_rows(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to a table by one write; the first one gives the columns."""
        self._mend()
        file = self.path / f"{table}.csv"
        lines = [_csv_line([_cell(v) for v in row.values()]) for row in rows]
        if not file.is_file() or file.stat().st_size == 0:
            lines.insert(0, _csv_line(list(rows[0])))
        append_line(file, "\n".join(lines))

    def write_rows(self, table: str, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
        """Write a table anew, atomically; cells that a row lacks stay empty.

        Args:
            rows: As `rows` gives them.
        """
        lines = [_csv_line(list(columns)), *(_csv_line([row.get(c, "") for c in columns]) for row in rows)]
        self.write_text(f"{table}.csv", "\n".join(lines) + "\n")

    def sizes(self) -> dict[str, int]:
        """Lengths in bytes of the files that only grow, by name."""
        self._mend()
        return {p.name: p.stat().st_size for p in sorted(self.path.iterdir()) if _grows(p)}

    def truncate(self, sizes: Mapping[str, int]) -> None:
        """Cut the files that only grow back to these lengths; those not named become empty.

        What was said of a resume itself stays: the steps are taken again, the resume is not.
        """
        for file in self.path.iterdir():
            length = sizes.get(file.name, 0)
            if _grows(file) and file.stat().st_size > length:
                lasting = _about_lives(file.read_bytes()[length:]) if file.name == EVENTS else []
                os.truncate(file, length)
                for line in lasting:
                    append_line(file, line)

    def finish(self, stage: str) -> None:
        """Note that a stage ended, so that a resume does only what is missing."""
        self.write_json("stages.json", {**self.read_json("stages.json", {}), stage: True})

    def finished(self, stage: str) -> bool:
        """Whether the stage ended."""
        return bool(self.read_json("stages.json", {}).get(stage))


def next_name(base: str | Path, runs: Path) -> Path:
    """`runs/NAME-1`, or the first number that is free."""
    stem = Path(base).stem if base else "run"
    taken = {p.name for p in runs.glob(f"{stem}-*")} if runs.is_dir() else set()
    count = 1
    while f"{stem}-{count}" in taken:
        count += 1
    return runs / f"{stem}-{count}"


def write_atomic(file: Path, content: bytes) -> None:
    """Write beside, flush to disk, rename: a crash leaves the old content or the new."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def append_line(file: Path, line: str) -> None:
    """Add a line with one write; a failed write is taken back, so that a line is whole or absent."""
    before = file.stat().st_size if file.exists() else 0
    try:
        with file.open("ab", buffering=0) as out:
            data = line.encode() + b"\n"
            if out.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        with contextlib.suppress(OSError):  # what could not be written is what there is to say
            os.truncate(file, before)
        raise


def _clear(path: Path) -> None:
    """Remove the run that is there, but for the lock on it."""
    for entry in path.iterdir() if path.exists() else ():
        if entry.name == lock.NAME:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _grows(file: Path) -> bool:
    return file.suffix in (".csv", ".jsonl") and file.name != DECISIONS and not file.is_symlink()


def _about_lives(tail: bytes) -> list[str]:
    """The lines of events.jsonl on how a life ended or began, a torn last one left out."""
    found = []
    for line in tail.decode(errors="replace").splitlines():
        with contextlib.suppress(ValueError, AttributeError):
            if json.loads(line).get("kind") in ("resume", "recovery"):
                found.append(line)
    return found


def _cell(value: Any) -> str:
    """Floats in full, so that equal runs give equal bytes; nothing for None."""
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def _csv_line(cells: list[str]) -> str:
    quoted = ['"' + c.replace('"', '""') + '"' if any(x in c for x in ',"\n') else c for c in cells]
    return ",".join(quoted)


def _plain(data: Any) -> Any:
    """JSON's own types; NumPy numbers become Python's, NaN and infinities null."""
    if isinstance(data, Mapping):
        return {str(k): _plain(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(v) for v in data]
    if hasattr(data, "tolist"):
        return _plain(data.tolist())
    if isinstance(data, float):
        return data if abs(data) <= sys.float_info.max else None
    if isinstance(data, Path):
        return str(data)
    return data
