"""One process that answers: models, application, connections, and an orderly end."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
import uvloop

from torchkiln.serving import served
from torchkiln.serving.app import App
from torchkiln.serving.fleet import Fleet
from torchkiln.serving.http import SWEEP_SECONDS, Connection
from torchkiln.serving.limits import Limits
from torchkiln.serving.log import Log, Sample
from torchkiln.serving.metrics import Metrics
from torchkiln.serving.repository import Repository
from torchkiln.serving.routes import Desk
from torchkiln.serving.settings import Settings

FLUSH_SECONDS = 0.5
PUBLISH_SECONDS = 1.0
WATCH_SECONDS = 1.0
_LINGER_SECONDS = 0.5  # no request for so long: nobody is in the middle of anything
_SETTLE_SECONDS = 0.05  # to take in who was queued
_COLLECT = (20_000, 20, 20)  # requests leave no cycles behind, so there is little to look for
_SWITCH_SECONDS = 5e-4  # the runner's thread and the loop change places more often than Python's 5 ms


class Worker(uvicorn.Server):
    """uvicorn's server with our connections, our clockwork and our way to stop.

    Args:
        settings: Of the server.
        app: Of this worker.
        desk: Its other routes.
        fleet, number: This worker's place among all.
        ready: Called once requests are answered.
    """

    def __init__(
        self, settings: Settings, app: App, desk: Desk, fleet: Fleet, number: int, ready: Callable[[], None]
    ) -> None:
        connection = type("Connection", (Connection,), {"limits": settings.limits})
        context = settings.tls()
        config = uvicorn.Config(
            app, http=connection, ws="none", lifespan="off", log_config=None, access_log=False,
            proxy_headers=False, server_header=False, interface="asgi3", backlog=2048,
            timeout_graceful_shutdown=1, ssl_context_factory=(lambda *_: context) if context else None,
        )  # fmt: skip
        super().__init__(config)
        self.settings, self.app, self.desk, self.fleet, self.number = settings, app, desk, fleet, number
        self._ready = ready
        self._parent = os.getppid()
        self._end: float | None = None
        self._due = {"sweep": 0.0, "flush": 0.0, "publish": 0.0, "watch": 0.0}
        self._seen_requests, self._quiet_since = -1, 0.0
        self._watching: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """First signal: drain. Second: end at once."""
        if self._end is None:
            self._end = time.monotonic() + self.settings.drain_seconds
            self.app.phase = "draining"
        else:
            self._end = 0.0

    async def on_tick(self, counter: int) -> bool:
        await super().on_tick(counter)
        now = time.monotonic()
        if self.desk.catch_up() and self.app.phase == "starting":
            self.app.phase = "ready"
            self._ready()
        self.fleet.beat(self.number, self.app.phase == "ready", self.desk.carried_out)
        if self._is_due("sweep", SWEEP_SECONDS, now):
            at = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                connection.sweep(at)  # type: ignore[union-attr]
        if self._is_due("flush", FLUSH_SECONDS, now):
            self.app.log.flush()
            self.app.sample.log.flush()
        if self._is_due("publish", PUBLISH_SECONDS, now) and self.fleet.size > 1:
            self.fleet.publish(self.number, self.desk.counts())
        idle = self._watching is None or self._watching.done()
        if self.settings.watch and idle and self._is_due("watch", WATCH_SECONDS, now):
            self._watching = asyncio.create_task(self.app.repository.watch())
        if self.fleet.size > 1 and os.getppid() != self._parent:
            return True  # the supervisor was killed
        return self._end is not None and self._drained(now, self._end)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nobody in any more, and answer those who were taken in at the last moment, before all is closed."""
        for one in sockets or []:
            one.listen(0)  # who comes now is not queued, as closing would reset those in the queue
        await asyncio.sleep(_SETTLE_SECONDS)
        for server in self.servers:
            server.close()
        end = time.monotonic() + _LINGER_SECONDS
        while self.server_state.connections and time.monotonic() < end:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)

    def _is_due(self, what: str, every: float, now: float) -> bool:
        if now < self._due[what]:
            return False
        self._due[what] = now + every
        return True

    def _drained(self, now: float, end: float) -> bool:
        """Whether nobody waits for an answer or is about to ask on a connection that he keeps."""
        if now > end:
            return True
        if self.server_state.tasks or self.server_state.total_requests != self._seen_requests:
            self._seen_requests, self._quiet_since = self.server_state.total_requests, now
        return now - self._quiet_since > _LINGER_SECONDS


def build(settings: Settings, fleet: Fleet, number: int, ready: Callable[[], None] = lambda: None) -> Worker:
    """A worker with its models loaded.

    Raises:
        KilnError: A model cannot be loaded, or a file of the settings cannot be used.
    """
    metrics = Metrics()
    log, sample_log = Log(settings.access_log), Log(settings.request_log)
    sample = Sample(sample_log, settings.request_share if sample_log else 0.0, settings.hash_fields)
    load = functools.partial(_load, options=settings.bundle_options(), limits=settings.limits, metrics=metrics)
    repository = Repository(settings.paths, settings.versions, load)
    repository.load_all()
    tokens = settings.tokens()
    app = App(repository, settings.limits, metrics, log, sample, tokens)
    desk = Desk(app, fleet, number, admin=settings.loopback)
    app.other = desk
    return Worker(settings, app, desk, fleet, number, ready)


def _load(
    name: str, version: str, path: Path, *, options: dict[str, Any], limits: Limits, metrics: Metrics
) -> served.Served:
    return served.load(name, version, path, options, limits, metrics)


def run(
    settings: Settings, listening: socket.socket, fleet: Fleet, number: int, ready: Callable[[], None] = lambda: None
) -> None:
    """Answer until a signal says to stop; `ready` is called once requests are answered."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    sys.setswitchinterval(_SWITCH_SECONDS)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    worker = build(settings, fleet, number, ready)
    # What was made until now stays: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(worker.serve([listening]))
    worker.app.log.flush()
    worker.app.sample.log.flush()
