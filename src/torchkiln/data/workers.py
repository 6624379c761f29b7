"""Processes that read batches ahead: what they are at, what befell them, and new ones in their place."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
import time
import traceback
from collections.abc import Iterator
from multiprocessing.sharedctypes import RawArray
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch.utils.data import get_worker_info

Fault = Literal["died", "hung", "shared_memory"]
SHOWN = 8
"""Samples of a batch that are remembered."""

NEWS_SECONDS = 0.5
"""How long the system may take to tell of a process that has ended."""

_FETCHING = "torch/multiprocessing/reductions.py"
_NOTHING, _READING, _READ = range(3)
_STATE, _PID, _SINCE, _EPOCH, _COUNT, _FIRST = range(6)
_WIDTH = _FIRST + SHOWN
_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
_OUT_OF_FILES_TEXT = re.compile("Too many open files|items of ancdata")
_GONE = re.compile(r"DataLoader worker \(pid.*?\) (is killed by signal|exited unexpectedly)")
_NO_SHARED_MEMORY = re.compile(
    r"killed by signal: Bus error|unable to (allocate shared memory|open shared memory|write to file </torch_|"
    r"resize file </torch_|mmap .* from file </torch_)|No space left on device: '/dev/shm"
)


class Work:
    """What each worker of a loader is at, in memory that outlives it.

    Args:
        workers: How many there are.
    """

    def __init__(self, workers: int) -> None:
        self._cells = RawArray("q", workers * _WIDTH)

    def begin(self, epoch: int, indices: npt.NDArray[np.int64]) -> None:
        """Called in a worker before it reads a batch."""
        row = self._mine()
        if row is not None:
            shown = indices[:SHOWN]
            row[_PID:_FIRST] = os.getpid(), time.monotonic_ns(), epoch, len(indices)
            row[_FIRST : _FIRST + len(shown)] = shown
            row[_STATE] = _READING

    def end(self) -> None:
        """Called in a worker when it has read a batch, or failed to."""
        row = self._mine()
        if row is not None:
            row[_STATE] = _READ

    def words(self, pids: set[int]) -> list[str]:
        """One clause a worker, the longest at work first.

        Args:
            pids: Of these alone, whether they were still reading or not; empty: of all that are reading.
        """
        rows = [(i, row) for i, row in enumerate(self._rows()) if row[_STATE] != _NOTHING]
        chosen = [(i, r) for i, r in rows if (r[_PID] in pids if pids else r[_STATE] == _READING)]
        return [_clause(i, row) for i, row in sorted(chosen, key=lambda pair: int(pair[1][_SINCE]))]

    def _rows(self) -> npt.NDArray[np.int64]:
        return np.frombuffer(self._cells, np.int64).reshape(-1, _WIDTH)

    def _mine(self) -> npt.NDArray[np.int64] | None:
        info = get_worker_info()
        return None if info is None else self._rows()[info.id]


def worker_fault(error: BaseException) -> Fault | None:
    """What befell a worker, from what came out of its loader; None: nothing of the kind.

    Args:
        error: Itself or what it was raised from.
    """
    if any(_lost_touch(one) for one in _chain(error)):
        _await_news(error)
        return "died"
    for one in _chain(error):
        text = str(one)
        if out_of_files(one):
            return None
        if _NO_SHARED_MEMORY.search(text) or (isinstance(one, OSError) and _full_memory(one)):
            return "shared_memory"
        if _GONE.search(text):
            return "died"
        if "DataLoader timed out after" in text:
            return "hung"
    return None


def at_work(loader: Any, error: BaseException | None = None) -> str:
    """What the workers of a loader were reading: "worker 1 was reading 32 samples of epoch 2 (17, 40, ...)".

    Args:
        loader: As `data.loader.loader` made it; of any other nothing is known.
        error: Names the worker that is meant, if one died; else all that are reading are told of.
    """
    work = getattr(getattr(_inner(loader), "dataset", None), "work", None)
    if work is None:
        return ""
    named = (re.search(r"pid(?:\(s\))? ([\d, ]+)\)", str(one)) for one in _chain(error)) if error else ()
    pids = {int(p) for found in named if found for p in found[1].split(",")}
    return "; ".join(work.words(pids))


def out_of_files(error: BaseException) -> str | None:
    """A sentence for too many open files, with the limit and how to raise it; None: it is something else."""
    for one in _chain(error):
        text = str(one)
        if (isinstance(one, OSError) and one.errno in _OUT_OF_FILES) or _OUT_OF_FILES_TEXT.search(text):
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            return (
                f"too many files are open at once: the limit is {limit} a process; raise it by "
                f"`ulimit -n {max(4096, 4 * limit)}`, or read the data without workers: data.workers=0"
            )
    return None


def restart(loader: Any, workers: int | None = None) -> None:
    """End the workers of a loader, whatever state they are in; its next iteration starts fresh ones.

    Args:
        loader: A DataLoader, or what wraps one under the name `loader`.
        workers: How many from now on; 0 reads in this process. None: as before, and so in any case for a loader that
            is used as it is, whose batches may depend on the number.
    """
    as_it_is, loader = hasattr(loader, "loader"), _inner(loader)
    iterator: Any = getattr(loader, "_iterator", None)
    loader._iterator = None
    if hasattr(iterator, "_shutdown_workers"):
        with contextlib.suppress(RuntimeError):  # news of a worker that died may come even now; the rest is done then
            iterator._shutdown_workers()
        for process in iterator._workers:
            if process.is_alive():  # stopped, or deaf to being asked
                process.kill()
            process.join()
    if workers is not None and not as_it_is:
        loader.num_workers = workers
        if not workers:
            loader.timeout = 0  # reading in this process knows none


def _lost_touch(error: BaseException) -> bool:
    """Whether it is from a batch that lay with a worker which was gone when it was to be fetched."""
    if not isinstance(error, ConnectionError | EOFError | FileNotFoundError):
        return False
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_filename.endswith(_FETCHING) for frame, _ in frames)


def _await_news(error: BaseException) -> None:
    """Let PyTorch's signal handler say which worker died; else it would do so amid whatever comes next."""
    try:
        time.sleep(NEWS_SECONDS)
    except RuntimeError as news:
        if error.__cause__ is None:
            error.__cause__ = news


def _inner(loader: Any) -> Any:
    return getattr(loader, "loader", loader)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, and so on."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__


def _full_memory(error: OSError) -> bool:
    return error.errno == errno.ENOSPC and str(error.filename or "").startswith("/dev/shm")


def _clause(worker: int, row: npt.NDArray[np.int64]) -> str:
    count = int(row[_COUNT])
    shown = ", ".join(str(i) for i in row[_FIRST : _FIRST + min(count, SHOWN)].tolist())
    verb = "was reading" if row[_STATE] == _READING else "had just read"
    what = "1 sample" if count == 1 else f"{count} samples"
    more = ", ..." if count > SHOWN else ""
    return f"worker {worker} {verb} {what} of epoch {int(row[_EPOCH])} ({shown}{more})"
