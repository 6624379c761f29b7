"""Servers for tests: the application asked without a socket, and the command in a process that has no torch."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from torchkiln import bundle
from torchkiln.bundle import drift, examples
from torchkiln.serving.fleet import Fleet
from torchkiln.serving.settings import Settings
from torchkiln.serving.start import settings
from torchkiln.serving.worker import Worker, build

T = TypeVar("T")
SOURCE = Path(__file__).resolve().parents[1] / "src"
_WITHOUT_TORCH = """
import sys
sys.modules.update(dict.fromkeys(("torch", "torchvision", "lightning")))  # as where they are not installed
from torchkiln.cli import main
sys.exit(main())
"""


def with_golden(make: Callable[..., Path], folder: Path) -> Path:
    """A bundle as an export writes it: with golden records and what requests are held beside."""
    plain = bundle.load(make(folder.with_name(f"{folder.name}-plain")))
    codec = plain.codec.inputs if plain.codec else None
    records = examples.records(codec)
    arrays = plain.encode(records)
    reference = drift.make(
        codec, arrays, plain.compute(arrays), plain.schema["classes"], plain.manifest.prediction_kind
    )
    files = {
        "golden.jsonl": examples.golden(records, plain.predict(records)),
        "reference.json": json.dumps(reference).encode(),
    }
    return make(folder, files=files)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        found = self.json
        return str(found.get("detail") or found.get("error"))


@dataclass
class Asked:
    """One worker's application, asked in this process, in an event loop of its own."""

    worker: Worker
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def ask(
        self, method: str, path: str, body: bytes | list[bytes] | Any = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Bytes are sent as they are, a list of bytes in pieces, anything else as JSON."""
        given = {"content-type": "application/json"} | {k.lower(): v for k, v in (headers or {}).items()}
        if not isinstance(body, bytes) and not (isinstance(body, list) and body and isinstance(body[0], bytes)):
            body = json.dumps(body).encode()
        pieces = body if isinstance(body, list) else [body]
        messages = [
            {"type": "http.request", "body": piece, "more_body": i < len(pieces) - 1} for i, piece in enumerate(pieces)
        ]
        sent: list[dict[str, Any]] = []

        async def receive() -> Any:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
            "scheme": "http", "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 1), "root_path": "",
            "http_version": "1.1", "asgi": {"version": "3.0"},
            "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in given.items() if v],
        }  # fmt: skip
        await self.worker.app(scope, receive, send)
        head = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        return Answer(sent[0]["status"], head, b"".join(m.get("body", b"") for m in sent[1:]))


@contextlib.contextmanager
def asked(tmp_path: Path, *paths: Path | str, **options: Any) -> Iterator[Asked]:
    """An application over bundles, ready."""
    made: Settings = settings(*paths, access_log=None, **options)
    made.check()
    folder = tmp_path / "fleet"
    folder.mkdir(exist_ok=True)
    fleet = Fleet(folder, 1)
    worker = build(made, fleet, 0)
    worker.app.phase = "ready"
    fleet.beat(0, True, 1 << 30)  # orders are carried out as they are given
    found = Asked(worker)
    yield found
    for model in worker.app.repository.models.values():
        for served in model.loaded.values():
            served.batcher.close()
    found.run(found.loop.shutdown_default_executor())
    found.loop.close()


def ask(made: Asked, *args: Any, **more: Any) -> Answer:
    """One request."""
    return made.run(made.ask(*args, **more))


@dataclass
class Process:
    """`torchkiln serve` in a process of its own."""

    process: subprocess.Popen[bytes]
    url: str
    lines: list[str]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def ask(
        self, path: str, body: bytes | Any = None, headers: Mapping[str, str] | None = None, method: str | None = None,
        timeout: float = 20.0,
    ) -> Answer:  # fmt: skip
        """GET without a body, POST with one."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        given = {"content-type": "application/json", **(headers or {})}
        request = urllib.request.Request(self.url + path, data, given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as found:
                return Answer(found.status, dict(found.headers), found.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())

    def workers(self) -> list[int]:
        """Process ids of the workers; of the server itself where it has none."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(child) for child in children] or [self.process.pid]

    def stop(self, timeout: float = 30.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)


@contextlib.contextmanager
def process(*paths: Path | str, options: tuple[str, ...] = (), wait: float = 60.0, **env: str) -> Iterator[Process]:
    """A server that answers, on a free port; it is killed in the end, with its workers."""
    words = [sys.executable, "-c", _WITHOUT_TORCH, "serve", *map(str, paths), "--port", "0", *options]
    if "--access-log" not in options:
        words += ["--access-log", "none"]
    made = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(SOURCE), **env},
        start_new_session=True,
    )  # fmt: skip
    lines: list[str] = []
    assert made.stderr is not None
    stream = made.stderr

    def read() -> None:
        with contextlib.suppress(ValueError):
            lines.extend(line.decode().rstrip() for line in stream)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        end = time.monotonic() + wait
        while not (found := re.search(r"https?://\S+:\d+", "\n".join(lines))):
            assert made.poll() is None and time.monotonic() < end, f"it did not start: {lines}"
            time.sleep(0.02)
        yield Process(made, found[0], lines)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(made.pid, signal.SIGKILL)
        made.wait()
        reader.join(5)
        stream.close()
