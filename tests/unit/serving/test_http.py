"""Connections that send too much, too slowly or nonsense; each test speaks through a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from torchkiln.serving.http import Connection, respond
from torchkiln.serving.limits import Limits

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]]
OK = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi"


async def app(scope: Any, receive: Any, send: Any) -> None:
    cycle = scope.pop("cycle")
    if scope["path"] == "/refused":  # without a look at the body
        assert respond(cycle, 413, [(b"content-length", b"2")], b"no")
        return
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    assert respond(cycle, 200, [(b"content-length", b"%d" % len(body))], body)


def talk(with_it: Talk, **limits: Any) -> Any:
    """What a client gets that speaks to a server with these limits."""

    async def main() -> Any:
        kind = type("Connection", (Connection,), {"limits": Limits(**limits)})
        config = uvicorn.Config(app, http=kind, ws="none", lifespan="off", log_config=None)
        config.load()
        state, loop = ServerState(), asyncio.get_running_loop()
        server = await loop.create_server(lambda: kind(config=config, server_state=state, app_state={}), "127.0.0.1", 0)

        async def sweep() -> None:
            while True:
                await asyncio.sleep(0.02)
                for connection in list(state.connections):
                    connection.sweep(loop.time())  # type: ignore[union-attr]

        sweeping = asyncio.create_task(sweep())
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            return await asyncio.wait_for(with_it(reader, writer), 5)
        finally:
            sweeping.cancel()
            writer.close()
            server.close()
            for connection in list(state.connections):
                connection.transport.close()
            await asyncio.sleep(0.01)

    return asyncio.run(main())


def sends(*pieces: bytes, pause: float = 0.0) -> Talk:
    """All that comes back until the server closes."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        return await reader.read()

    return say


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_requests_follow_on_one_connection() -> None:
    close = OK.replace(b"host: x", b"host: x\r\nconnection: close")
    answer = talk(sends(OK + OK, close))
    assert answer.count(b"HTTP/1.1 200 OK") == 3 and answer.endswith(b"hi")
    assert answer.count(b"connection: close") == 1


@pytest.mark.parametrize(
    "head",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nhi",
        b"POST / HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nx : y\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_what_is_no_http_is_400_and_the_end(head: bytes) -> None:
    answer = talk(sends(head))
    assert status(answer) == 400 and b"connection: close" in answer
    assert json.loads(answer.rpartition(b"\r\n\r\n")[2])["title"] == "malformed"


@pytest.mark.parametrize(
    "pieces",
    [
        [b"GET / HTTP/1.1\r\n", *[b"x%d: " % i + b"y" * 1000 + b"\r\n" for i in range(40)]],
        [b"GET / HTTP/1.1\r\nx: " + b"y" * 33_000],
        [b"GET /" + b"y" * 33_000 + b" HTTP/1.1\r\n\r\n"],
        [b"GET / HTTP/1.1\r\nx: " + b"y" * 33_000 + b"\r\n\r\n"],
    ],
)
def test_a_large_head_is_431(pieces: list[bytes]) -> None:
    assert status(talk(sends(*pieces))) == 431


def test_a_body_does_not_count_as_head() -> None:
    body = b"y" * 40_000
    request = b"POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: 40000\r\n\r\n" + body
    assert talk(sends(request)).endswith(body)


def test_half_a_head_is_408() -> None:
    answer = talk(sends(b"GET / HTTP/1.1\r\nhost"), head_seconds=0.1)
    assert status(answer) == 408 and b"headers" in answer


def test_dripping_a_head_does_not_help() -> None:
    answer = talk(sends(*[b"GET / HTTP/1.1\r\n", b"a: b\r\n", b"c: d\r\n", b"e: f\r\n"], pause=0.05), head_seconds=0.1)
    assert status(answer) == 408


def test_half_a_body_is_408() -> None:
    answer = talk(sends(b"POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\nhi"), body_seconds=0.1)
    assert status(answer) == 408 and b"body" in answer


def test_an_idle_connection_is_closed() -> None:
    assert talk(sends(), idle_seconds=0.1) == b""
    assert talk(sends(OK), idle_seconds=0.1).endswith(b"hi")


def test_one_connection_too_many_is_503() -> None:
    async def two(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(OK)
        await reader.read(10)
        second, other = await asyncio.open_connection(*writer.get_extra_info("peername"))
        found = await second.read()
        other.close()
        return found

    answer = talk(two, connections=1)
    assert status(answer) == 503 and b"retry-after" in answer


def test_a_refusal_comes_before_the_body_and_the_connection_goes_on() -> None:
    async def refused(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"POST /refused HTTP/1.1\r\ncontent-length: 100000\r\n\r\n")
        first = await reader.readuntil(b"no")
        writer.write(b"y" * 100_000 + OK)
        return first + await reader.readuntil(b"hi")

    answer = talk(refused)
    assert status(answer) == 413 and b"HTTP/1.1 200 OK" in answer


def test_a_refused_body_is_not_taken_without_end() -> None:
    async def refused(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"POST /refused HTTP/1.1\r\ncontent-length: 100000000\r\n\r\n" + b"y" * 900_000)
        return await reader.read()

    with contextlib.suppress(ConnectionResetError):  # it was sent, and the connection is gone
        assert status(talk(refused, body_mb=0.1)) == 413


def test_expect_is_answered_only_when_the_body_is_wanted() -> None:
    async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        first = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"hi")
        return first + await reader.readuntil(b"hi")

    assert status(talk(waits)) == 100
    no = b"POST /refused HTTP/1.1\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 2\r\n\r\n"
    assert status(talk(sends(no))) == 413
