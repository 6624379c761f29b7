"""One process trains in a run directory at a time.

The lock is a record lock on `RUN/.lock`: the system frees it with the process, however that ends, and processes
that are forked from it (those that read samples) do not inherit it, so an orphan among them keeps nothing.
The file says who holds it. A file without a lock was left by a process that was killed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from torchkiln.errors import RunError

NAME = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL)
"""What a file system answers that has none; then nobody can be kept out."""
_ours: dict[tuple[int, int], int] = {}
"""Locks of this process by device and inode, with its id: to itself a process would grant each again, and to open
and close the file once more would free it."""


@contextlib.contextmanager
def held(run: Path) -> Iterator[str | None]:
    """Keep other processes from training in `run`, which is made if it is not there.

    Yields:
        Who left the lock behind, such as `process 123 on myhost`; None if nobody did.

    Raises:
        RunError: Another process holds it, or nothing can be written there.
    """
    file = run / NAME
    try:
        run.mkdir(parents=True, exist_ok=True)
        descriptor, locked = _take(file)
    except OSError as error:
        raise RunError(f"{run}: the run directory cannot be written ({error.strerror})") from error
    try:
        left = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield left
    finally:
        _ours.pop(locked, None)
        if _same(file, locked):
            file.unlink()
        os.close(descriptor)


def refuse_if_held(run: Path) -> None:
    """Whether another process trains in `run`.

    Raises:
        RunError: One does; names it.
    """
    file = run / NAME
    if _is_ours(file):
        return
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return  # no lock, or a place that cannot be written, which is told elsewhere
    try:
        _lock(descriptor, run)
    finally:
        os.close(descriptor)


def _take(file: Path) -> tuple[int, tuple[int, int]]:
    """The locked file; where its holder removed it in the same instant, the one that is there now."""
    while True:
        if _is_ours(file):
            raise RunError(_refusal(file.parent, f"this process ({os.getpid()})"))
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            _lock(descriptor, file.parent)
        except BaseException:
            os.close(descriptor)
            raise
        state = os.fstat(descriptor)
        if _same(file, (state.st_dev, state.st_ino)):
            _ours[state.st_dev, state.st_ino] = os.getpid()
            return descriptor, (state.st_dev, state.st_ino)
        os.close(descriptor)


def _lock(descriptor: int, run: Path) -> None:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        raise RunError(_refusal(run, holder or "another process")) from None


def _refusal(run: Path, holder: str) -> str:
    return f"{run} is being trained by {holder}; wait for it, stop it, or choose another run directory with --out"


def _is_ours(file: Path) -> bool:
    return any(pid == os.getpid() and _same(file, place) for place, pid in _ours.items())


def _same(file: Path, place: tuple[int, int]) -> bool:
    try:
        state = os.lstat(file)
    except OSError:
        return False
    return (state.st_dev, state.st_ino) == place
