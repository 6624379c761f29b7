"""Files to read: Python, notebooks, and the texts in which programs are started. Nothing is imported or executed."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from torchkiln.checks.lint.source import Source

LARGEST = 5_000_000
"""Bytes of a file that is still read; what people write is far below."""
PYTHON, NOTEBOOK = (".py", ".pyw"), ".ipynb"
COMMANDS = (".sh", ".bash", ".yaml", ".yml", ".slurm", ".sbatch", ".pbs", ".zsh")
COMMAND_FILES = ("Makefile", "Dockerfile", "makefile")
PASSED_OVER = {"__pycache__", "node_modules", "venv", "env", "build", "dist", "site-packages"}
MAGIC = re.compile(r"^(\s*)(?:[%!?].*|[\w.]+\?{1,2}\s*|[\w., ]+=\s*[%!].*)$")


@dataclass
class Text:
    """A file that is no Python: its lines are looked at, nothing more."""

    name: str
    path: Path
    text: str


@dataclass
class Read:
    """What was read.

    Args:
        sources: Python, a notebook's cells as one.
        texts: Other files.
        faults: One sentence for each thing that could not be read.
        paths: A source's name to its file; notebooks are not in it.
        cells: Of a notebook's source, the cell and its first line for each line.
    """

    sources: list[Source] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    paths: dict[str, Path] = field(default_factory=dict)
    cells: dict[str, list[tuple[int, int]]] = field(default_factory=dict)


def read(paths: Sequence[str | Path], exclude: Sequence[str] = ()) -> Read:
    """Read files and folders.

    Args:
        paths: As the person named them.
        exclude: Patterns of names or paths that are passed over.
    """
    done = Read()
    seen: set[Path] = set()
    for given in paths:
        path = Path(given)
        if not path.exists():
            done.faults.append(f"{given} does not exist")
            continue
        found = list(_files(path, exclude)) if path.is_dir() else [path]
        if path.is_dir() and not any(f.suffix in (*PYTHON, NOTEBOOK) for f in found):
            done.faults.append(f"{given} holds no Python files and no notebooks")
        for file in found:
            real = file.resolve()
            if real not in seen:
                seen.add(real)
                _one(file, real, done)
    return done


def _files(folder: Path, exclude: Sequence[str]) -> Iterator[Path]:
    for base, folders, names in os.walk(folder):
        here = Path(base)
        folders[:] = sorted(
            f
            for f in folders
            if not f.startswith(".") and f not in PASSED_OVER and not (here / f / "pyvenv.cfg").exists()
            and not _excluded(here / f, exclude)
        )  # fmt: skip
        for name in sorted(names):
            file = here / name
            if (file.suffix in (*PYTHON, NOTEBOOK, *COMMANDS) or name in COMMAND_FILES) and not _excluded(
                file, exclude
            ):
                yield file


def _excluded(path: Path, exclude: Sequence[str]) -> bool:
    return any(
        fnmatch(path.name, p) or fnmatch(path.as_posix(), p) or fnmatch(path.as_posix(), f"*/{p}") for p in exclude
    )


def _one(file: Path, real: Path, done: Read) -> None:
    try:
        size = file.stat().st_size
        if size > LARGEST:
            raise ValueError(f"has {size / 1e6:.0f} MB; files above {LARGEST / 1e6:.0f} MB are not read")
        raw = file.read_bytes()
    except OSError as error:
        done.faults.append(f"{file} cannot be read: {(error.strerror or 'no reason given').lower()}")
        return
    except ValueError as error:
        done.faults.append(f"{file} {error}")
        return
    if file.suffix == NOTEBOOK:
        _notebook(file, real, raw, done)
    elif file.suffix in COMMANDS or file.name in COMMAND_FILES:
        if b"distributed.launch" in raw:
            done.texts.append(Text(str(file), file, raw.decode("utf-8", "replace")))
    else:
        _python(file, real, raw, done)


def _python(file: Path, real: Path, raw: bytes, done: Read) -> None:
    if b"\0" in raw:
        done.faults.append(f"{file} is no text: it holds null bytes")
        return
    try:
        text = raw.decode(_encoding(raw)).replace("\r\n", "\n").replace("\r", "\n")
        done.sources.append(Source(str(file), text, _module(real)))
        done.paths[str(file)] = file
    except UnicodeDecodeError as error:
        done.faults.append(
            f"{file} is not {error.encoding.upper()}: byte {error.start + 1} cannot be read; save it as UTF-8"
        )
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        done.faults.append(f"{file} is no Python that can be read: {where}{error.msg}")
    except (RecursionError, MemoryError, ValueError) as error:
        done.faults.append(f"{file} cannot be parsed: {error or 'it is nested too deep'}")


def _encoding(raw: bytes) -> str:
    """What a file says of its encoding; UTF-8 where its first lines are none of Python's and say nothing."""
    try:
        return tokenize.detect_encoding(io.BytesIO(raw).readline)[0]
    except SyntaxError:
        if b"coding" in b"".join(raw.splitlines()[:2]):
            raise
        return "utf-8"


def _module(real: Path) -> str:
    parts = real.with_suffix("").parts[1:]
    if parts and parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts)


# Notebooks


def _notebook(file: Path, real: Path, raw: bytes, done: Read) -> None:
    try:
        content = json.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        done.faults.append(f"{file} is no notebook: it holds no JSON in UTF-8")
        return
    cells = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(cells, list) or not cells:
        done.faults.append(f"{file} is a notebook without cells")
        return
    lines: list[str] = []
    places: list[tuple[int, int]] = []
    for number, cell in enumerate(cells, 1):
        code = _code(cell)
        if code is None:
            continue
        try:
            ast.parse("\n".join(code))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            said = getattr(error, "msg", None) or "nested too deep"
            done.faults.append(
                f"{file} cell {number} is no Python that can be read: line {getattr(error, 'lineno', 1)}: {said}"
            )
            continue
        places += [(number, line) for line in range(1, len(code) + 1)]
        lines += code
    text = "\n".join(lines) + "\n"
    done.sources.append(Source(str(file), text, _module(real)))
    done.cells[str(file)] = places


def _code(cell: Any) -> list[str] | None:
    """A code cell's lines with magics taken out; None for all other cells."""
    if not isinstance(cell, dict) or cell.get("cell_type") != "code":
        return None
    source = cell.get("source", "")
    text = "".join(map(str, source)) if isinstance(source, list) else str(source)
    lines = text.splitlines()
    if lines and lines[0].startswith("%%"):
        if lines[0].split()[0] not in ("%%time", "%%timeit", "%%capture", "%%prun"):
            return None
        lines[0] = ""
    return [f"{found[1]}pass" if (found := MAGIC.match(line)) else line for line in lines]
