"""Rows of many requests computed together, without a timer: whoever is free takes what waits.

A net that is quick is run on the event loop itself: the requests that were read in one turn of the loop are one
batch. A heavier one has a thread; while it computes, the next batch gathers. Rows are counted, not requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from torchkiln.codec.base import Array, Arrays, Ragged
from torchkiln.serving.refusal import Refusal, busy

Outputs = Mapping[str, Array]
Compute = Callable[[Arrays], Outputs]
SWEEP_SECONDS = 0.05
"""How often what waits is asked for its deadline while the runner is busy."""


@dataclass(slots=True)
class Seen:
    """What a batcher has done, for /metrics.

    Args:
        on_batch: Called with (rows, seconds) of each batch computed.
        dropped: Requests whose deadline passed or whose client left before they were computed.
    """

    on_batch: Callable[[int, float], None] = lambda rows, seconds: None
    dropped: int = 0


@dataclass(slots=True, eq=False)
class Waiting:
    """The arrays of one request, on their way.

    Args:
        key: Requests of equal key can share a batch.
        deadline: By `time.monotonic`.
        cycle: Of uvicorn; `disconnected` says that the client has left.
    """

    arrays: Arrays
    rows: int
    deadline: float
    cycle: Any
    future: asyncio.Future[Outputs]
    key: tuple[Any, ...]
    since: float = field(default_factory=time.perf_counter)
    waited: float = 0.0
    computed: float = 0.0

    def left(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.future.done() or (self.cycle is not None and self.cycle.disconnected)


class Batcher:
    """The queue of one model and what empties it.

    Args:
        compute: Outputs by name for arrays of any number of rows; may raise.
        largest: Rows of a batch; a request of more is a batch of its own, which `compute` splits.
        most: Rows that may wait.
        inline: Whether the event loop itself computes.
        delay: Seconds that a batch which is not full waits for more.
    """

    def __init__(self, compute: Compute, *, largest: int, most: int, inline: bool, delay: float = 0.0) -> None:
        self.compute, self.largest, self.most, self.inline, self.delay = compute, largest, most, inline, delay
        self.seen = Seen()
        self.rows = 0  # that wait
        self.admitted = 0  # requests that may come in and have not yet: each will have a row at least
        self.running: list[Waiting] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # asking for the running one costs a call to the system
        self._waiting: deque[Waiting] = deque()
        self._turn = False  # a turn of the loop that takes a batch is due
        self._sweeping = False
        self._thread: threading.Thread | None = None
        self._inbox: queue.SimpleQueue[list[Waiting] | None] = queue.SimpleQueue()

    def admit(self) -> None:
        """Take a place before the body is read; whoever does must `submit` or `withdraw`.

        Raises:
            Refusal: 503, the queue is full.
        """
        if self.rows + self.admitted >= self.most:
            raise busy(f"the queue is full ({self.most} rows)")
        self.admitted += 1

    def withdraw(self) -> None:
        """Give the place back: the request was refused."""
        self.admitted -= 1

    def submit(self, arrays: Arrays, deadline: float, cycle: Any = None) -> Waiting:
        """Queue the arrays of one request that was admitted; its `future` holds the outputs, row by row in order.

        Raises:
            Refusal: 503, its rows are more than there is room for.
        """
        self.admitted -= 1
        key, rows = _key(arrays)
        if self.rows and self.rows + rows > self.most:
            raise busy(f"the queue has no room for {rows} rows ({self.rows} of {self.most} wait)")
        loop = self._loop or asyncio.get_running_loop()
        self._loop = loop
        one = Waiting(arrays, rows, deadline, cycle, loop.create_future(), key)
        self._waiting.append(one)
        self.rows += rows
        if not self._turn and not self.running:
            self._turn = True
            if self.delay and self.rows < self.largest:
                loop.call_later(self.delay, self._take)
            else:
                loop.call_soon(self._take)
        if not self.inline and not self._sweeping:
            self._sweeping = True
            loop.call_later(SWEEP_SECONDS, self._sweep)
        return one

    def close(self) -> None:
        """End the thread; what waits is refused."""
        for one in (*self._waiting, *self.running):
            if not one.future.done():
                one.future.set_exception(busy("this version of the model was unloaded"))
        self._waiting.clear()
        self.rows = 0
        self._inbox.put(None)

    @property
    def idle(self) -> bool:
        """Whether nothing waits, runs or is about to come."""
        return not (self._waiting or self.running or self.admitted)

    def _take(self) -> None:
        """Compute what waits, or hand it to the thread."""
        self._turn = False
        while batch := self._next():
            now = time.perf_counter()
            for one in batch:
                one.waited = now - one.since
            if not self.inline:
                self.running = batch
                self._to_thread(batch)
                return
            self._finish(batch, _computed(self.compute, batch), time.perf_counter() - now)

    def _next(self) -> list[Waiting]:
        """The oldest that waits and others like it, up to the largest batch."""
        now = time.monotonic()
        batch: list[Waiting] = []
        rows = 0
        others: list[Waiting] = []
        while self._waiting and rows < self.largest:
            one = self._waiting.popleft()
            if self._given_up(one, now):
                self.rows -= one.rows
            elif batch and (one.key != batch[0].key or rows + one.rows > self.largest):
                others.append(one)
                if len(others) > self.largest:
                    break
            else:
                batch.append(one)
                rows += one.rows
        self._waiting.extendleft(reversed(others))
        self.rows -= rows
        return batch

    def _given_up(self, one: Waiting, now: float) -> bool:
        if not one.left() and now <= one.deadline:
            return False
        self.seen.dropped += 1
        if not one.future.done():
            late = now > one.deadline
            one.future.set_exception(_late() if late else Refusal(499, "the client has left"))
        return True

    def _finish(self, batch: list[Waiting], found: list[Outputs | Exception], seconds: float) -> None:
        self.seen.on_batch(sum(one.rows for one in batch), seconds)
        for one, outputs in zip(batch, found, strict=True):
            one.computed = seconds
            if one.future.done():
                continue
            if isinstance(outputs, Exception):
                one.future.set_exception(outputs)
            else:
                one.future.set_result(outputs)

    def _sweep(self) -> None:
        """Answer those whose deadline passes while the runner is busy, computed or not."""
        self._sweeping = False
        now = time.monotonic()
        for one in self.running:
            if now > one.deadline and not one.future.done():
                one.future.set_exception(_late())
        kept = [one for one in self._waiting if not self._given_up(one, now)]
        if len(kept) < len(self._waiting):
            self._waiting = deque(kept)
            self.rows = sum(one.rows for one in kept)
        if self._waiting or self.running:
            self._sweeping = True
            asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def _to_thread(self, batch: list[Waiting]) -> None:
        if self._thread is None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, args=(loop,), name="runner", daemon=True)
            self._thread.start()
        self._inbox.put(batch)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """The thread: batch by batch, until None comes."""
        while (batch := self._inbox.get()) is not None:
            begun = time.perf_counter()
            found = _computed(self.compute, batch)
            seconds = time.perf_counter() - begun
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(self._done, batch, found, seconds)
            del batch, found

    def _done(self, batch: list[Waiting], found: list[Outputs | Exception], seconds: float) -> None:
        self.running = []
        self._finish(batch, found, seconds)
        if self._waiting and not self._turn:
            self._take()


def _computed(compute: Compute, batch: list[Waiting]) -> list[Outputs | Exception]:
    """Outputs of each; where the batch raises, each by itself, so that none suffers from its neighbour."""
    try:
        if len(batch) == 1:
            return [compute(batch[0].arrays)]
        outputs = compute(joined([one.arrays for one in batch]))
        found: list[Outputs | Exception] = []
        start = 0
        for one in batch:
            end = start + one.rows
            found.append({name: value[start:end] for name, value in outputs.items()})
            start = end
        return found
    except Exception as error:  # whatever the runtime raises is the answer to these rows alone
        if len(batch) == 1:
            return [error]
        return [_computed(compute, [one])[0] for one in batch]


def _key(arrays: Arrays) -> tuple[tuple[Any, ...], int]:
    """What must be equal to share a batch, and how many rows there are."""
    key: list[Any] = []
    rows = 0
    for name, value in arrays.items():
        if isinstance(value, Ragged):
            rows = len(value)
            key.append(name)  # `compute` pads
        else:
            rows = len(value)
            key += (name, value.shape[1:], value.dtype.char)
    return tuple(key), rows


def joined(several: list[Arrays]) -> Arrays:
    """The rows of all, one behind another."""
    out: dict[str, Array | Ragged] = {}
    for name, first in several[0].items():
        parts: list[Any] = [arrays[name] for arrays in several]
        if isinstance(first, Ragged):
            starts = np.cumsum([0, *(len(part.values) for part in parts)])
            offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts[:-1], strict=True)]
            out[name] = Ragged(np.concatenate([p.values for p in parts]), np.concatenate([*offsets, starts[-1:]]),
                               first.pad)  # fmt: skip
        else:
            out[name] = np.concatenate(parts)
    return out


def _late() -> Refusal:
    return Refusal(504, "the deadline passed before the answer was there")
