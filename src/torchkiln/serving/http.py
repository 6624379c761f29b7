"""Connections: uvicorn's protocol with bounds on heads, on slow senders and on how many are open.

Deadlines are kept by one sweep over all connections, twice a second: a timer for each request would cost more than
reading it.
"""

from __future__ import annotations

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from torchkiln.serving.limits import Limits
from torchkiln.serving.refusal import PROBLEM, Refusal, busy

SWEEP_SECONDS = 0.5
_LINGER_SECONDS = 1.0  # in which a client that was refused may still send


class Connection(HttpToolsProtocol):
    """One client's connection; `limits` is set on a subclass, as uvicorn makes the instances.

    The app finds the cycle of a request in `scope["cycle"]`: its `disconnected` tells that the client has left.
    """

    limits: Limits = Limits()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.since = self.loop.time()  # begun to wait for what is due now
        self._head_bytes = 0  # received of a head that is not complete
        self._in_head = False
        self._discarded = 0
        self._refused = False
        if len(self.connections) > self.limits.connections:
            self.refuse(busy(f"this server has its {self.limits.connections} connections"))

    def data_received(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except _TooLarge:
            self._refuse_head()
        except httptools.HttpParserUpgrade:
            pass  # no other protocol is spoken here: it is answered as a plain request
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, _TooLarge):
                self._refuse_head()
            else:
                self.refuse(Refusal(400, "this is no valid HTTP/1.1 request"))
        else:
            if self._in_head and self._head_bytes > self.limits.head_kb * 1000:
                self._refuse_head()

    def on_message_begin(self) -> None:
        self._in_head, self.since = True, self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        size = len(self.url)
        if self._head_bytes > self.limits.head_kb * 1000:  # else there is nothing to count
            size += sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.limits.head_kb * 1000:
                raise _TooLarge
        self._in_head, self._head_bytes, self._discarded = False, 0, 0
        self.since = self.loop.time()
        super().on_headers_complete()
        self.cycle.scope["cycle"] = self.cycle  # type: ignore[typeddict-unknown-key]

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        if self.cycle.response_complete:
            # Refused before it was read: what still comes is passed over, so that the client reads the answer and
            # not a reset; up to a measure.
            self._discarded += len(body)
            if self._discarded > 2 * self.limits.body_bytes:
                self.transport.close()
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.since = self.loop.time()
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    def sweep(self, now: float) -> None:
        """Close the connection if what is due has not come.

        Args:
            now: Of the loop's clock.
        """
        if self.transport is None or self.transport.is_closing():
            return
        waited = now - self.since
        if self._refused:
            if waited > _LINGER_SECONDS:
                self.transport.abort()
        elif self._in_head:
            if waited > self.limits.head_seconds:
                self.refuse(Refusal(408, f"the headers did not come within {self.limits.head_seconds:g} s"))
        elif self._idle():
            if waited > self.limits.idle_seconds:
                self.transport.close()
        elif self.cycle.more_body and waited > self.limits.body_seconds:
            self.refuse(Refusal(408, f"the body did not come within {self.limits.body_seconds:g} s"))
        elif self.flow.write_paused and waited > self.limits.body_seconds + self.limits.deadline_seconds:
            self.transport.abort()  # it does not read its answer

    def refuse(self, refusal: Refusal) -> None:
        """Answer outside of the app, unless an answer has begun, and close.

        Our side alone at first: to close while the client still sends would take the answer back from it.
        """
        self._refused, self.since = True, self.loop.time()
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = refusal.problem("")
            headers = {b"content-type": PROBLEM, b"content-length": str(len(body)).encode(), **refusal.headers,
                       b"connection": b"close"}  # fmt: skip
            lines = [b"%s: %s\r\n" % (name, value) for name, value in headers.items()]
            self.transport.write(b"".join([STATUS_LINE[refusal.status], *lines, b"\r\n", body]))
        if self.cycle is not None:  # whoever waits for the rest of the body
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _refuse_head(self) -> None:
        self.refuse(Refusal(431, f"request line and headers are over {self.limits.head_kb} kB"))

    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete


def respond(cycle: Any, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bool:
    """Send a whole answer with one call to the system, where uvicorn takes two; false where it must be sent as usual.

    Args:
        cycle: Of the request.
        status: Of HTTP.
        headers: Ours alone: names in small letters and values without control signs.
        body: All of it.
    """
    if cycle.disconnected or cycle.response_started or cycle.flow.write_paused:
        return False
    cycle.response_started = cycle.response_complete = True
    lines = [b"%s: %s\r\n" % header for header in (*cycle.default_headers, *headers)]
    if not cycle.keep_alive:
        lines.append(b"connection: close\r\n")
    cycle.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


class _TooLarge(Exception):
    """A head over its limit; raised through the parser, which then stops."""
