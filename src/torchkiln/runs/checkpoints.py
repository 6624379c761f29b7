"""Checkpoints on disk: a folder each, complete or absent, with a digest of every file.

A folder is written under a temporary name, flushed, given its manifest last, and renamed: at any instant a
reader finds whole checkpoints only. Needs no torch: what is inside is the writer's business.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torchkiln.errors import RunError

STEP, BEST = "step", "best"
"""Prefixes: the states to go on from, and the weights of the best epochs."""
MANIFEST = "MANIFEST.json"
PAUSES = (0.2, 1.0)
"""Seconds before the second and the third try of a write that failed."""
MOST_ENTRIES, MOST_BYTES = 10_000, 1_000_000
"""Of a manifest; ours have three entries."""


class Damaged(RunError):
    """A checkpoint that was written whole and no longer is: cut short, changed, or part of it missing."""


class NotWritten(OSError):
    """A checkpoint that could not be written, after several tries; those before it are untouched.

    Args:
        cause: What the last try met.
        folder: Where the checkpoint was to be.
        needed: Bytes that it takes, as far as known.
    """

    def __init__(self, cause: BaseException, folder: Path, needed: int) -> None:
        number = _errno(cause)
        super().__init__(number, os.strerror(number) if number else str(cause))
        self.folder, self.needed = folder, needed


def write(
    folder: Path, name: str, fill: Callable[[Path], None], *, needs: Sequence[str] = (), size: int = 0
) -> Path:  # fmt: skip
    """Make `folder/name`, whole or not at all; what the disk refuses is tried three times.

    Args:
        folder: The run's `checkpoints/`; made again if somebody removed it.
        name: Such as `step-00001234`.
        fill: Writes the checkpoint's files into the path it is given; called anew for each try.
        needs: Other checkpoints of the folder without which this one is of no use, such as the best weights
            that it speaks of.
        size: Bytes that its files will take, where that is known.

    Raises:
        NotWritten: The disk refused each time.
    """
    final = folder / name
    if not final.is_symlink() and is_whole(final):
        return final  # a step replayed after a resume makes the same bytes again
    failed: Exception | None = None
    for pause in (0.0, *PAUSES):
        time.sleep(pause)
        try:
            _write_once(folder, name, fill, needs)
        except Exception as error:
            if not _of_the_disk(error):
                raise
            failed = error
            _sweep_left(folder)
        else:
            return final
    assert failed is not None
    raise NotWritten(failed, final, max(size, _size_before(folder, name))) from failed


def keep_newest(folder: Path, prefix: str, count: int, spare: Callable[[int], bool] | None = None) -> None:
    """Delete all but the newest `count` checkpoints called `prefix-STEP`, and those that others need.

    Args:
        spare: Whether the checkpoint of a step is kept for good.
    """
    try:
        needed, there = _needed(folder), steps(folder, prefix)
    except FileNotFoundError:  # the folder was taken away meanwhile: the next checkpoint makes it again
        return
    for old in there[:-count]:
        path = named(folder, prefix, old)
        if path.name not in needed and not (spare and spare(old)):
            _remove(path)


def named(folder: Path, prefix: str, step: int) -> Path:
    """Where the checkpoint called `prefix-STEP` is."""
    return folder / f"{prefix}-{step:08d}"


def steps(folder: Path, prefix: str) -> list[int]:
    """Steps of the checkpoints called `prefix-STEP`, rising; by name, since clocks may jump."""
    names = (p.name.removeprefix(f"{prefix}-") for p in folder.glob(f"{prefix}-*"))
    return sorted(int(n) for n in names if re.fullmatch(r"[0-9]{8,}", n))


def newest(folder: Path, prefix: str, told: Callable[[str], object] | None = None) -> Path | None:
    """The newest checkpoint called `prefix-STEP` whose digests hold; None where there is none.

    One for which all that it needs is whole is taken before newer ones that lack something.

    Args:
        told: Is given a sentence for each that is damaged, or lacks something.

    Raises:
        RunError: One is no checkpoint of ours: a link, or one that names files elsewhere.
    """
    lacking = None
    for step in reversed(steps(folder, prefix)):
        path = named(folder, prefix, step)
        try:
            check_files(path)
            if (lack := lacks(path)) is None:
                return path
            lacking = lacking or path
        except Damaged as error:
            lack = str(error)
        if told:
            told(lack)
    return lacking


def sweep(folder: Path, prefix: str, after: int | None = None) -> None:
    """Remove what a killed write left, and checkpoints called `prefix-STEP` of steps behind `after`."""
    for rest in folder.glob(".tmp-*"):
        shutil.rmtree(rest, ignore_errors=True)
    for step in steps(folder, prefix):
        if after is not None and step > after:
            _remove(named(folder, prefix, step))


def is_whole(path: Path) -> bool:
    """Whether the manifest is there and every file has its size and digest."""
    try:
        verify(path)
    except RunError:
        return False
    return True


def verify(path: Path) -> None:
    """Check every file of a checkpoint, and those of the checkpoints that it needs.

    Raises:
        Damaged: Names the first file that is missing or differs.
        RunError: It is, holds or names something that no checkpoint of ours does.
    """
    check_files(path)
    if (lack := lacks(path)) is not None:
        raise Damaged(lack)


# Writing


def _write_once(folder: Path, name: str, fill: Callable[[Path], None], needs: Sequence[str]) -> None:
    final, temporary = folder / name, folder / f".tmp-{name}-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        fill(temporary)
        _seal(temporary, needs)
        _remove(final)
        os.rename(temporary, final)
        _flush(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _seal(path: Path, needs: Sequence[str]) -> None:
    files = {}
    for file in sorted(path.iterdir()):
        with file.open("rb") as content:
            os.fsync(content.fileno())
        files[file.name] = {"size": file.stat().st_size, "sha256": _digest(file)}
    with (path / MANIFEST).open("w") as out:
        json.dump({"format": 1, "files": files, **({"needs": list(needs)} if needs else {})}, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    _flush(path)


def _of_the_disk(error: Exception) -> bool:
    """Whether the disk is to blame; safetensors, which this room does not know, has an error of its own."""
    return isinstance(error, OSError) or type(error).__module__.split(".")[0].startswith("safetensors")


def _errno(error: BaseException) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    said = re.search(r"os error (\d+)\)", str(error))  # as Rust says it
    return int(said[1]) if said else None


def _sweep_left(folder: Path) -> None:
    """Give back the room of writes that were killed; those of this process clear up behind themselves."""
    for rest in folder.glob(".tmp-*"):
        if not rest.name.endswith(f"-{os.getpid()}"):
            shutil.rmtree(rest, ignore_errors=True)


def _size_before(folder: Path, name: str) -> int:
    """Bytes of the newest checkpoint of the same kind, since one is as large as the other."""
    prefix = name.rpartition("-")[0]
    with contextlib.suppress(RunError, IndexError):
        last = named(folder, prefix, steps(folder, prefix)[-1])
        return sum(entry["size"] for entry in _manifest(last)["files"].values())
    return 0


def _remove(path: Path) -> None:
    """Remove a checkpoint, which is gone at once and no half of it ever seen; of a link the link alone."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        gone = path.with_name(f".tmp-old-{path.name}-{os.getpid()}")
        with contextlib.suppress(OSError):
            path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        shutil.rmtree(path, ignore_errors=True)


# Reading


def lacks(path: Path) -> str | None:
    """What is wrong with the checkpoints that this one needs; None where all is well."""
    for name in _manifest(path).get("needs", ()):
        try:
            check_files(path.parent / name)
        except RunError as error:
            return f"{path.name} needs {name}, and {error}"
    return None


def check_files(path: Path) -> None:
    """As `verify`, without what the checkpoint needs beside itself."""
    files = _manifest(path)["files"]
    beside = sorted(p.name for p in path.iterdir() if p.name not in files and p.name[0] != "." and p.name != MANIFEST)
    if beside:
        raise Damaged(f"{path / beside[0]} is not named in {MANIFEST}; the checkpoint is damaged")
    for name, entry in files.items():
        file = path / name
        if file.is_symlink():
            raise RunError(f"{file} is a link; a checkpoint holds its files itself: put the real file there or remove "
                           "the checkpoint")  # fmt: skip
        if not file.is_file() or file.stat().st_size != entry["size"] or _digest(file) != entry["sha256"]:
            raise Damaged(f"{file} is missing or differs from its digest; the checkpoint is damaged")


def _manifest(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself, none of it trusted."""
    if path.is_symlink() or (path / MANIFEST).is_symlink():
        link = path if path.is_symlink() else path / MANIFEST
        raise RunError(f"{link} is a link; a checkpoint is a folder of its own inside the run: remove the link")
    file = path / MANIFEST
    try:
        if file.stat().st_size > MOST_BYTES:
            raise RunError(f"{file} is larger than {MOST_BYTES:,} bytes, which no manifest of ours is")
        manifest: dict[str, Any] = json.loads(file.read_text())
        files = manifest["files"]
        shaped = bool(files) and all(isinstance(e["size"], int) and isinstance(e["sha256"], str)
                                     for e in files.values())  # fmt: skip
        names = [*files, *manifest.get("needs", ())]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{file} cannot be read; the checkpoint is not whole") from error
    if not shaped:
        raise Damaged(f"{file} names no files with sizes and digests; the checkpoint is not whole")
    if len(names) > MOST_ENTRIES:
        raise RunError(f"{file} names {len(names):,} files, which no manifest of ours does")
    for name in names:
        if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise RunError(f"{file} names {str(name)[:80]!r}, which is not a file of the checkpoint; do not use it")
    return manifest


def _needed(folder: Path) -> set[str]:
    """Names of checkpoints that others in the folder need."""
    found: set[str] = set()
    for path in folder.glob("*-*"):
        with contextlib.suppress(RunError):
            found |= set(_manifest(path).get("needs", ()))
    return found


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
