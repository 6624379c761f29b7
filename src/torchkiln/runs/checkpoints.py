"""Checkpoints on disk: a folder each, complete or absent, with a digest of every file.

A folder is written under a temporary name, flushed, given its manifest last, and renamed: at any instant a
reader finds whole checkpoints only. Needs no torch: what is inside is the writer's business.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from torchkiln.errors import RunError

MANIFEST = "MANIFEST.json"


def write(folder: Path, name: str, fill: Callable[[Path], None]) -> Path:
    """Make `folder/name`, whole or not at all.

    Args:
        folder: The run's `checkpoints/`.
        name: Such as `step-00001234`.
        fill: Writes the checkpoint's files into the path it is given.
    """
    final, temporary = folder / name, folder / f".tmp-{name}-{os.getpid()}"
    if is_whole(final):
        return final  # a step replayed after a resume makes the same bytes again
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        fill(temporary)
        _seal(temporary)
        shutil.rmtree(final, ignore_errors=True)
        os.rename(temporary, final)
        _flush(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def keep_newest(folder: Path, prefix: str, count: int, spare: Callable[[int], bool] = lambda step: False) -> None:
    """Delete all but the newest `count` checkpoints called `prefix-STEP`, and those of steps to `spare`."""
    for old in steps(folder, prefix)[:-count]:
        if not spare(old):
            shutil.rmtree(folder / f"{prefix}-{old:08d}", ignore_errors=True)


def steps(folder: Path, prefix: str) -> list[int]:
    """Steps of the checkpoints called `prefix-STEP`, rising; by name, since clocks may jump."""
    names = (p.name.removeprefix(f"{prefix}-") for p in folder.glob(f"{prefix}-*"))
    return sorted(int(n) for n in names if n.isdigit())


def newest(folder: Path, prefix: str) -> Path | None:
    """The newest checkpoint called `prefix-STEP` whose digests hold; None where there is none."""
    for step in reversed(steps(folder, prefix)):
        if is_whole(path := folder / f"{prefix}-{step:08d}"):
            return path
    return None


def sweep(folder: Path, prefix: str, after: int | None = None) -> None:
    """Remove what a killed write left, and checkpoints called `prefix-STEP` of steps behind `after`."""
    for rest in folder.glob(".tmp-*"):
        shutil.rmtree(rest, ignore_errors=True)
    for step in steps(folder, prefix):
        if after is not None and step > after:
            shutil.rmtree(folder / f"{prefix}-{step:08d}", ignore_errors=True)


def is_whole(path: Path) -> bool:
    """Whether the manifest is there and every file has its size and digest."""
    try:
        verify(path)
    except RunError:
        return False
    return True


def verify(path: Path) -> None:
    """Check every file of a checkpoint.

    Raises:
        RunError: Names the first file that is missing or differs.
    """
    try:
        files = json.loads((path / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{path / MANIFEST} cannot be read; the checkpoint is not whole") from error
    for name, entry in files.items():
        file = path / name
        if not file.is_file() or file.stat().st_size != entry["size"] or _digest(file) != entry["sha256"]:
            raise RunError(f"{file} is missing or differs from its digest; the checkpoint is damaged")


def _seal(path: Path) -> None:
    files = {}
    for file in sorted(path.iterdir()):
        with file.open("rb") as content:
            os.fsync(content.fileno())
        files[file.name] = {"size": file.stat().st_size, "sha256": _digest(file)}
    with (path / MANIFEST).open("w") as out:
        json.dump({"format": 1, "files": files}, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    _flush(path)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
