"""The application: requests for predictions on a short way of their own, everything else through Starlette.

The order on that way: token, model, queue, and only then the body; so that what must be refused costs little.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from torchkiln.codec.base import Arrays
from torchkiln.serving import body as bodies
from torchkiln.serving import oip, records
from torchkiln.serving.batcher import Waiting
from torchkiln.serving.body import Headers, Receive, Scope, Send
from torchkiln.serving.http import respond
from torchkiln.serving.limits import Limits
from torchkiln.serving.log import Line, Log, Sample
from torchkiln.serving.metrics import Metrics
from torchkiln.serving.model import Model
from torchkiln.serving.refusal import JSON, PROBLEM, Refusal, busy
from torchkiln.serving.repository import Repository
from torchkiln.serving.served import Served, alike
from torchkiln.serving.tokens import Tokens

logger = logging.getLogger("torchkiln.serving")
_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_TRACE = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_encode = msgspec.json.encode


@dataclass(slots=True)
class Call:
    """One request for predictions, as far as it has come."""

    id: str
    model: Model
    version: str | None
    oip: bool
    begun: float
    cycle: Any
    served: Served | None = None
    rows: int = 0
    waiting: Waiting | None = None
    headers: dict[bytes, bytes] = field(default_factory=dict)


class App:
    """The ASGI application of one worker.

    Args:
        repository: Models, loaded.
        limits: Of requests.
        metrics: Of this worker.
        log, sample: Of requests.
        tokens: Who may ask; None: everyone.
        other: The application for all other routes.
    """

    def __init__(
        self, repository: Repository, limits: Limits, metrics: Metrics, log: Log, sample: Sample,
        tokens: Tokens | None = None, other: Callable[[Scope, Receive, Send], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        self.repository, self.limits, self.metrics, self.log, self.sample = repository, limits, metrics, log, sample
        self.tokens, self.other = tokens, other
        self.phase = "starting"
        self._prefix, self._number = os.urandom(6).hex(), 0
        self._ways: dict[str, tuple[Model, str | None, bool]] = {}
        self._shadows: set[asyncio.Task[None]] = set()
        repository.changed = self.index
        self.index()

    def index(self) -> None:
        """List the paths that lead to a model, so that a request finds its own by one look-up."""
        ways: dict[str, tuple[Model, str | None, bool]] = {}
        for name, model in self.repository.models.items():
            ways[f"/v1/models/{name}:predict"] = (model, None, False)
            ways[f"/v2/models/{name}/infer"] = (model, None, True)
            for version in {*model.loaded, *model.routing.aliases}:
                ways[f"/v1/models/{name}/versions/{version}:predict"] = (model, version, False)
                ways[f"/v2/models/{name}/versions/{version}/infer"] = (model, version, True)
        self._ways = ways

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        way = self._ways.get(scope["path"])
        if way is not None:
            await self._predict(scope, receive, send, way)
        elif self.other is not None:
            await self.other(scope, receive, send)

    def request_id(self, headers: Headers) -> str:
        """As sent, or a new one."""
        sent = headers.get(b"x-request-id")
        if sent is not None and _ID.fullmatch(sent):
            return sent.decode()
        self._number += 1
        return f"{self._prefix}-{self._number:x}"

    async def _predict(self, scope: Scope, receive: Receive, send: Send, way: tuple[Model, str | None, bool]) -> None:
        headers: Headers = dict(scope["headers"])
        call = Call(self.request_id(headers), *way, time.perf_counter(), scope.pop("cycle", None))
        status, error = 200, ""
        call.headers = {b"content-type": JSON}
        try:
            content = await self._answer(call, scope, headers, receive)
        except Refusal as refusal:
            status, error = refusal.status, refusal.detail
            content = refusal.oip() if call.oip else refusal.problem(call.id)
            call.headers = {b"content-type": JSON if call.oip else PROBLEM, **refusal.headers}
        except Exception as fault:
            logger.exception("request %s", call.id)
            status, error = 500, f"{type(fault).__name__}: {fault}"
            unknown = Refusal(500, f"request {call.id} failed; the server's log says why")
            content = unknown.oip() if call.oip else unknown.problem(call.id)
            call.headers = {b"content-type": JSON if call.oip else PROBLEM}
        if status != 499:
            await self._send(send, call, headers, status, content)
        self._note(call, scope, headers, status, error)

    async def _answer(self, call: Call, scope: Scope, headers: Headers, receive: Receive) -> bytes:
        if scope["method"] != "POST":
            raise Refusal(405, "predictions are asked for by POST", headers={b"allow": b"POST"})
        if self.tokens is not None:
            self.tokens.check(headers.get(b"authorization"), "predict")
        if self.phase != "ready":
            raise busy(f"this server is {self.phase}")
        served = call.served = call.model.find(call.version, call.id)
        deadline = self._deadline(headers)
        batcher = served.batcher
        batcher.admit()
        try:
            body = await bodies.read(headers, receive, self.limits)
            given: list[Any] | oip.Request
            arrays: Arrays
            if call.oip:
                given = oip.read(body, headers.get(oip.HEAD_LENGTH), served, self.limits)
                arrays = given.arrays
            else:
                given = records.read(body, headers.get(b"content-type", b""), served, self.limits)
                arrays = await served.encode(given, len(body))
        except BaseException:
            batcher.withdraw()
            raise
        call.waiting = batcher.submit(arrays, deadline, call.cycle)
        call.rows = call.waiting.rows
        found = await served.outputs(call.waiting)
        served.watch(arrays, found)
        other = call.model.shadow(served)
        if other is not None:
            self._mirror(other, call, arrays, deadline, found)
        if isinstance(given, oip.Request):
            content, more = oip.answer(given, found, served)
            call.headers = more
            return content
        answers = served.bundle.decode(found)
        if self.sample.share and self.sample.wanted():
            self.sample.add(call.id, served.name, served.version, given, answers)
        return _encode({"predictions": answers, "model": served.name, "version": served.version, "request_id": call.id})

    def _deadline(self, headers: Headers) -> float:
        seconds = self.limits.deadline_seconds
        asked = headers.get(b"x-timeout-ms")
        if asked is not None:
            if not asked.isdigit() or len(asked) > 9:
                raise Refusal(400, "x-timeout-ms is a whole number of milliseconds")
            seconds = min(seconds, int(asked) / 1000)
        return time.monotonic() + seconds

    async def _send(self, send: Send, call: Call, asked: Headers, status: int, content: bytes) -> None:
        headers = [*call.headers.items(), (b"content-length", b"%d" % len(content)),
                   (b"x-request-id", call.id.encode())]  # fmt: skip
        trace = asked.get(b"traceparent")
        if trace is not None and _TRACE.fullmatch(trace):
            headers.append((b"traceparent", trace))
        if self.phase == "draining" and call.cycle is not None:
            call.cycle.keep_alive = False
        if call.cycle is not None and respond(call.cycle, status, headers, content):
            return
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def _note(self, call: Call, scope: Scope, headers: Headers, status: int, error: str) -> None:
        """Count and log."""
        seconds = time.perf_counter() - call.begun
        served = call.served
        if served is not None:
            served.count(status, seconds)
            if status == 503:
                self.metrics.add("torchkiln_shed_total", served.labels)
        else:
            labels = (("model", call.model.name), ("version", ""), ("status", str(status)))
            self.metrics.add("torchkiln_requests_total", labels)
        if self.log:
            one = call.waiting
            self.log.add(Line(
                time.time(), call.id, scope["method"], scope["path"], status, int(seconds * 1e6), call.model.name,
                served.version if served else "", call.rows, int(one.waited * 1e6) if one else 0,
                int(one.computed * 1e6) if one else 0, (scope.get("client") or ("",))[0],
                headers.get(b"traceparent", b"").decode("latin-1")[:64], error,
            ))  # fmt: skip

    async def _settled(self) -> None:
        """Wait for what shadows compute."""
        await asyncio.gather(*self._shadows)

    def _mirror(self, other: Served, call: Call, arrays: Any, deadline: float, found: Any) -> None:
        """Let another version compute the same, unless it is busy, and compare."""
        labels = (*other.labels, ("outcome", "dropped"))
        batcher = other.batcher
        if batcher.rows + batcher.admitted > batcher.most // 4 or call.served is None or call.served.batcher.rows:
            self.metrics.add("torchkiln_shadow_total", labels)
            return

        async def compare() -> None:
            outcome = "failed"
            try:
                batcher.admit()
                theirs = await other.outputs(batcher.submit(arrays, deadline))
                ours = {name: value.tolist() for name, value in found.items()}
                outcome = "equal" if alike({n: v.tolist() for n, v in theirs.items()}, ours) else "differs"
            except Exception:
                logger.debug("shadow of %s", call.id, exc_info=True)
            self.metrics.add("torchkiln_shadow_total", (*other.labels, ("outcome", outcome)))

        task = asyncio.get_running_loop().create_task(compare())
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)
