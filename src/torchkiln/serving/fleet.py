"""What the workers of one server know of each other: who is alive, which orders were given, what was counted.

A board of shared memory holds a line for each worker; a folder holds the orders that one worker took from an
administrator and all carry out, and each worker's counts.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STALE_SECONDS = 2.0
"""A worker that has not moved for so long is not ready."""
_LINE = struct.Struct("<dqqq")  # heartbeat, ready, orders carried out, restarts
_ORDERS = "orders.jsonl"


class Fleet:
    """Made before the workers are, and inherited by them.

    Args:
        folder: For files that the workers share; theirs alone.
        size: How many workers there are.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self._board = mmap.mmap(-1, _LINE.size * size)
        (folder / _ORDERS).touch()

    def beat(self, worker: int, ready: bool, carried_out: int) -> None:
        """A worker moves."""
        restarts = self._line(worker)[3]
        self._write(worker, time.monotonic(), ready, carried_out, restarts)

    def restarted(self, worker: int) -> None:
        """A worker is started anew; it counts as moving until it had time to."""
        self._write(worker, time.monotonic(), False, 0, self._line(worker)[3] + 1)

    def started(self, worker: int) -> None:
        """A worker is started for the first time."""
        self._write(worker, time.monotonic(), False, 0, 0)

    def restarts(self) -> int:
        """Of all workers."""
        return sum(self._line(worker)[3] for worker in range(self.size))

    def still(self, worker: int) -> float:
        """Seconds since a worker moved."""
        return time.monotonic() - self._line(worker)[0]

    def ready(self, worker: int) -> bool:
        """Whether a worker said that it is."""
        return bool(self._line(worker)[1])

    def trouble(self) -> str | None:
        """Why the server as a whole is not ready, or None."""
        for worker in range(self.size):
            if self.still(worker) > STALE_SECONDS:
                return f"worker {worker} has not moved for {self.still(worker):.0f} s"
            if not self.ready(worker):
                return f"worker {worker} is not ready"
        return None

    def behind(self, number: int) -> bool:
        """Whether a worker has yet to carry out the order of this number."""
        return any(self._line(worker)[2] < number for worker in range(self.size))

    def order(self, content: dict[str, Any]) -> int:
        """Tell all workers; the number of the order."""
        with self._locked() as handle:
            handle.write(json.dumps(content).encode() + b"\n")
            handle.flush()
            return (self.folder / _ORDERS).read_bytes().count(b"\n")

    def orders(self, after: int) -> list[dict[str, Any]]:
        """Those behind the first `after`."""
        lines = (self.folder / _ORDERS).read_bytes().splitlines()
        return [json.loads(line) for line in lines[after:]]

    def orders_size(self) -> int:
        """Bytes of all orders, which tells cheaply whether there is a new one."""
        return os.stat(self.folder / _ORDERS).st_size

    def publish(self, worker: int, counts: dict[str, Any]) -> None:
        """Leave a worker's counts where the others find them."""
        temporary = self.folder / f".counts-{worker}"
        temporary.write_text(json.dumps(counts), encoding="utf-8")
        temporary.replace(self.folder / f"counts-{worker}.json")

    def others(self, worker: int) -> list[dict[str, Any]]:
        """Counts of all other workers, at most some seconds old."""
        found = []
        for other in range(self.size):
            with contextlib.suppress(OSError, ValueError):
                if other != worker:
                    found.append(json.loads((self.folder / f"counts-{other}.json").read_bytes()))
        return found

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Any]:
        with (self.folder / _ORDERS).open("ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle

    def _line(self, worker: int) -> tuple[float, int, int, int]:
        return _LINE.unpack_from(self._board, worker * _LINE.size)

    def _write(self, worker: int, moved: float, ready: bool, carried_out: int, restarts: int) -> None:
        _LINE.pack_into(self._board, worker * _LINE.size, moved, ready, carried_out, restarts)
