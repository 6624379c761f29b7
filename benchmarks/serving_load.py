"""A client that keeps so many connections busy with one request; it prints what came back as one line of JSON.

python benchmarks/serving_load.py 127.0.0.1:8000 /v1/models/m:predict body.json --connections 64 --seconds 3
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import statistics
import time
from pathlib import Path
from typing import Any

import uvloop


class Client(asyncio.Protocol):
    """One connection: it asks, reads the answer, and asks again, until the end or at its own pace.

    Args:
        request: Its bytes.
        seen: Seconds of each answer by its status.
        end: By the loop's clock.
        pause: Seconds between the beginnings of requests; 0 for none.
    """

    def __init__(self, request: bytes, seen: dict[int, list[float]], end: float, pause: float) -> None:
        self.request, self.seen, self.end, self.pause = request, seen, end, pause
        self.loop = asyncio.get_running_loop()
        self.done = self.loop.create_future()
        self.buffer, self.due, self.sent = b"", -1, 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        if self.loop.time() > self.end:
            self.transport.close()
            return
        self.sent = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.due < 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].lower()
            at = head.find(b"content-length: ")
            length = int(head[at + 16 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self.due = end + 4 + length
        if len(self.buffer) < self.due:
            return
        status, self.buffer, self.due = int(self.buffer[9:12]), self.buffer[self.due :], -1
        now = time.perf_counter()
        self.seen[status].append(now - self.sent)
        if self.pause:
            self.loop.call_later(max(0.0, self.sent + self.pause - now), self.ask)
        else:
            self.ask()

    def connection_lost(self, error: Exception | None) -> None:
        if self.loop.time() < self.end:
            self.seen[0].append(time.perf_counter() - self.sent)
        if not self.done.done():
            self.done.set_result(None)


async def load(where: str, request: bytes, connections: int, seconds: float, pause: float) -> dict[str, Any]:
    """Requests a second, and the times of those that were answered with 200."""
    host, _, port = where.rpartition(":")
    loop = asyncio.get_running_loop()
    seen: dict[int, list[float]] = collections.defaultdict(list)
    end = loop.time() + seconds
    begun = time.perf_counter()
    made = [
        loop.create_connection(lambda: Client(request, seen, end, pause), host, int(port)) for _ in range(connections)
    ]
    clients = [protocol for _, protocol in await asyncio.gather(*made)]
    _, late = await asyncio.wait([client.done for client in clients], timeout=seconds + 30)
    took = time.perf_counter() - begun
    good = sorted(seen[200]) or [0.0]
    refused = sorted(t for status, times in seen.items() if status not in (0, 200) for t in times) or [0.0]
    return {
        "requests": sum(map(len, seen.values())),
        "rate": len(seen[200]) / took,
        "seconds": took,
        "p50": statistics.median(good),
        "p99": good[int(0.99 * (len(good) - 1))],
        "refused_p50": statistics.median(refused),
        "refused_p99": refused[int(0.99 * (len(refused) - 1))],
        "hung": len(late),
        "statuses": {str(status): len(times) for status, times in seen.items() if times},
    }


def request(where: str, path: str, body: bytes, headers: list[str]) -> bytes:
    """The bytes of a POST."""
    lines = [f"POST {path} HTTP/1.1", f"host: {where}", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("where")
    parser.add_argument("path")
    parser.add_argument("body", type=Path)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--header", action="append", default=["content-type: application/json"])
    args = parser.parse_args()
    sent = request(args.where, args.path, args.body.read_bytes(), args.header)
    loop = uvloop.new_event_loop()
    print(json.dumps(loop.run_until_complete(load(args.where, sent, args.connections, args.seconds, args.pause))))
