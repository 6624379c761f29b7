from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from torchkiln.codec.base import Arrays, Ragged
from torchkiln.serving.batcher import Batcher, Waiting
from torchkiln.serving.refusal import Refusal


class Net:
    """Twice its input; it keeps the rows of each batch, and can be held."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.free = threading.Event()
        self.free.set()

    def __call__(self, arrays: Arrays) -> Any:
        self.free.wait(5)
        x: Any = arrays["x"]
        if isinstance(x, Ragged):
            self.batches.append(len(x))
            return {"y": x.padded(np.arange(len(x))).sum(axis=1)}
        self.batches.append(len(x))
        if (x == 13).any():
            raise ValueError("thirteen")
        return {"y": 2 * x}


def ones(rows: int, width: int = 1, value: float = 1.0) -> Arrays:
    return {"x": np.full((rows, width), value, np.float32)}


def batched(
    work: Callable[[Batcher, Net], Awaitable[Any]],
    *,
    inline: bool = True,
    largest: int = 8,
    most: int = 64,
    delay: float = 0.0,
) -> Any:
    async def main() -> Any:
        net = Net()
        made = Batcher(net, largest=largest, most=most, inline=inline, delay=delay)
        try:
            return await asyncio.wait_for(work(made, net), 5)
        finally:
            net.free.set()
            made.close()

    return asyncio.run(main())


def put(batcher: Batcher, arrays: Arrays, seconds: float = 60.0, cycle: Any = None) -> Waiting:
    batcher.admit()
    return batcher.submit(arrays, time.monotonic() + seconds, cycle)


@pytest.mark.parametrize("inline", [True, False])
def test_what_came_together_is_computed_together(inline: bool) -> None:
    async def work(batcher: Batcher, net: Net) -> None:
        several = [put(batcher, ones(1, value=float(i))) for i in range(5)]
        found = await asyncio.gather(*[one.future for one in several])
        assert [float(f["y"][0, 0]) for f in found] == [0, 2, 4, 6, 8]
        assert sum(net.batches) == 5 and len(net.batches) <= 2
        assert batcher.idle and batcher.rows == 0

    batched(work, inline=inline)


def test_rows_are_counted_and_not_requests() -> None:
    async def work(batcher: Batcher, net: Net) -> None:
        several = [put(batcher, ones(rows)) for rows in (3, 4, 5, 20, 1)]
        found = await asyncio.gather(*[one.future for one in several])
        assert [len(f["y"]) for f in found] == [3, 4, 5, 20, 1]
        assert net.batches == [8, 5, 20] or max(b for b in net.batches if b != 20) <= 8

    batched(work)


def test_another_shape_is_another_batch() -> None:
    async def work(batcher: Batcher, net: Net) -> None:
        several = [put(batcher, ones(1, width, float(i))) for i, width in enumerate((1, 2, 1, 2))]
        found = await asyncio.gather(*[one.future for one in several])
        assert [f["y"].tolist() for f in found] == [[[0]], [[2, 2]], [[4]], [[6, 6]]]
        assert net.batches == [2, 2]

    batched(work)


def test_sequences_are_joined_end_to_end() -> None:
    async def work(batcher: Batcher, net: Net) -> None:
        several = []
        for lengths in ([2, 1], [4], [3]):
            offsets = np.concatenate([[0], np.cumsum(lengths)])
            several.append(put(batcher, {"x": Ragged(np.ones(offsets[-1], np.float32), offsets)}))
        found = await asyncio.gather(*[one.future for one in several])
        assert [f["y"].tolist() for f in found] == [[2, 1], [4], [3]]
        assert net.batches == [4]

    batched(work)


def test_a_batch_that_raises_is_run_row_by_row() -> None:
    async def work(batcher: Batcher, net: Net) -> None:
        several = [put(batcher, ones(1, value=v)) for v in (1.0, 13.0, 3.0)]
        good, bad, other = await asyncio.gather(*[one.future for one in several], return_exceptions=True)
        assert float(good["y"][0, 0]) == 2 and float(other["y"][0, 0]) == 6
        assert isinstance(bad, ValueError)
        assert net.batches == [3, 1, 1, 1]

    batched(work)


def test_a_full_queue_takes_nobody_in() -> None:
    async def work(batcher: Batcher, net: Net) -> None:
        batcher.admit()
        batcher.submit(ones(9), time.monotonic() + 60)
        batcher.admit()
        with pytest.raises(Refusal, match="full"):  # nine rows wait and one is to come
            batcher.admit()
        batcher.withdraw()
        batcher.admit()
        with pytest.raises(Refusal, match="no room for 2 rows"):
            batcher.submit(ones(2), time.monotonic() + 60)
        assert batcher.admitted == 0

    batched(work, most=10)


def test_one_large_request_is_taken_where_nothing_waits() -> None:
    async def work(batcher: Batcher, net: Net) -> None:
        assert len((await put(batcher, ones(50)).future)["y"]) == 50

    batched(work, most=10)


def test_deadlines_hold_while_the_runner_is_busy() -> None:
    async def work(batcher: Batcher, net: Net) -> None:
        net.free.clear()
        running = put(batcher, ones(1), 0.05)
        await asyncio.sleep(0.01)
        waiting = put(batcher, ones(1), 0.05)
        for one in (running, waiting):
            with pytest.raises(Refusal) as refused:
                await one.future
            assert refused.value.status == 504
        assert batcher.rows == 0 and batcher.seen.dropped == 1
        net.free.set()
        assert len((await put(batcher, ones(1)).future)["y"]) == 1  # the runner goes on
        assert net.batches == [1, 1]  # and never saw what was dropped

    batched(work, inline=False)


def test_a_client_that_left_is_not_computed_for() -> None:
    async def work(batcher: Batcher, net: Net) -> None:
        gone = put(batcher, ones(1), cycle=SimpleNamespace(disconnected=True))
        here = put(batcher, ones(2), cycle=SimpleNamespace(disconnected=False))
        await here.future
        assert net.batches == [2]
        with pytest.raises(Refusal) as refused:
            await gone.future
        assert refused.value.status == 499

    batched(work)


def test_a_delay_fills_the_batch() -> None:
    async def work(batcher: Batcher, net: Net) -> None:
        first = put(batcher, ones(1))
        await asyncio.sleep(0.005)
        second = put(batcher, ones(1))
        await asyncio.gather(first.future, second.future)
        assert net.batches == [2]

    batched(work, delay=0.05)


def test_closing_refuses_what_waits() -> None:
    async def work(batcher: Batcher, net: Net) -> None:
        one = put(batcher, ones(1))
        batcher.close()
        with pytest.raises(Refusal, match="unloaded"):
            await one.future

    batched(work)
