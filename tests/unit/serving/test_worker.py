from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import bundles
import pytest
import servers
from servers import Asked


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Asked]:
    with servers.asked(tmp_path, bundles.tensors(tmp_path / "b"), drain_seconds=5.0) as made:
        yield made


def test_it_is_ready_once_orders_are_carried_out(app: Asked) -> None:
    told = []
    app.worker._ready = lambda: told.append(True)
    app.worker.app.phase = "starting"

    async def ticks() -> None:
        for _ in range(5):
            assert not await app.worker.on_tick(0)
            await asyncio.sleep(0.01)

    app.run(ticks())
    assert app.worker.app.phase == "ready" and told == [True]
    assert app.worker.fleet.ready(0) and app.worker.fleet.still(0) < 1


def test_a_signal_drains_and_a_second_ends(app: Asked) -> None:
    worker = app.worker
    worker.handle_exit(15, None)
    assert worker.app.phase == "draining"
    assert not app.run(worker.on_tick(0))  # somebody may be about to ask on a connection that he keeps
    worker._quiet_since = time.monotonic() - 1
    assert app.run(worker.on_tick(0))

    async def busy() -> bool:
        task = asyncio.create_task(asyncio.sleep(10))
        worker.server_state.tasks.add(task)
        try:
            return await worker.on_tick(0)
        finally:
            task.cancel()

    assert not app.run(busy())
    worker.handle_exit(15, None)
    assert app.run(busy())


def test_what_is_due_comes_at_its_time(app: Asked) -> None:
    now = time.monotonic()
    assert app.worker._is_due("sweep", 1.0, now) and not app.worker._is_due("sweep", 1.0, now + 0.5)
    assert app.worker._is_due("sweep", 1.0, now + 1.0)
