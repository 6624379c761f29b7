"""10,000 requests with something changed: no failure of ours, no hang, and the memory comes back."""

from __future__ import annotations

import json
import random
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bundles
import numpy as np
import pytest
import servers
from servers import Process

REQUESTS = 10_000
X = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
ALLOWED = {200, 400, 401, 404, 405, 408, 413, 415, 422, 431, 503}


def http(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", "connection: close", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def originals() -> list[bytes]:
    head = json.dumps({"inputs": [{"name": "x", "shape": [1, 2, 3], "datatype": "FP32",
                                   "parameters": {"binary_data_size": X.nbytes}}]}).encode()  # fmt: skip
    part = b'--edge\r\ncontent-disposition: form-data; name="p"\r\n\r\n' + bundles.png() + b"\r\n--edge--\r\n"
    record = json.dumps([bundles.RECORD, bundles.RECORD]).encode()
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(record), record)
    chunked = (
        b"POST /v1/models/table:predict HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n"
    )
    return [
        http("/v1/models/table:predict", record, "content-type: application/json"),
        http("/v1/models/text:predict", b'{"text": "a good \\u00e9 film"}', "content-type: application/json"),
        http("/v1/models/tensors:predict", b'{"x": [[1, 2, 3], [4, 5, 6]]}', "content-type: application/json"),
        http("/v2/models/tensors/infer", head + X.tobytes(), f"inference-header-content-length: {len(head)}"),
        http("/v1/models/pictures:predict", part, "content-type: multipart/form-data; boundary=edge"),
        chunked + b"content-type: application/json\r\n\r\n" + chunks,
    ]


def mutated(request: bytes, chance: random.Random) -> bytes:
    """One to three places changed: a byte, a piece taken out, doubled or moved, a word that hurts."""
    hurts = [
        b"\0",
        b"\xff",
        b"[" * 80,
        b"1e999",
        b"NaN",
        b'"',
        b"-1",
        b"9" * 40,
        b"\r\n",
        b"\r\n\r\n",
        b"null",
        b"{",
        b"%2e%2e/",
    ]
    data = bytearray(request)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data))
        size = chance.randint(1, 20)
        kind = chance.randrange(5)
        if kind == 0:
            data[at] = chance.randrange(256)
        elif kind == 1:
            del data[at : at + size]
        elif kind == 2:
            data[at:at] = data[at : at + size]
        elif kind == 3:
            data[at:at] = chance.choice(hurts)
        else:
            data = data[:at] + data[at + size :] + data[at : at + size]
        data = data or bytearray(b"x")
    return bytes(data)


def asked(server: Process, request: bytes) -> int:
    """Status; 0 where the connection was closed without a word."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        try:
            answer = connection.recv(1 << 16)
        except ConnectionResetError:
            return 0
    return int(answer.split(b" ", 2)[1]) if answer else 0


def memory(process: int) -> float:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1])
    raise AssertionError("no VmRSS")


@pytest.mark.slow
def test_mutated_requests(tmp_path: Path) -> None:
    paths = [f"{name}={getattr(bundles, name)(tmp_path / name)}" for name in ("table", "text", "tensors", "pictures")]
    options = ("--workers", "1", "--limit", "head_seconds=0.5", "--limit", "body_seconds=0.5")
    with servers.process(*paths, options=options) as server:
        sent, chance = originals(), random.Random(0)
        for request in sent:
            assert asked(server, request) == 200, request
        with ThreadPoolExecutor(64) as pool:  # what is cut short waits for its deadline
            list(pool.map(lambda request: asked(server, request), [mutated(r, chance) for r in sent * 50]))
            before = memory(server.process.pid)
            requests = [mutated(sent[i % len(sent)], chance) for i in range(REQUESTS)]
            answers = list(pool.map(lambda request: asked(server, request), requests))
        bad = [(status, r) for status, r in zip(answers, requests, strict=True) if status and status not in ALLOWED]
        assert bad == []
        seen = Counter(answers)
        assert seen[200] and seen[400] and seen[422] and seen[404]
        assert seen[0] < 0.2 * REQUESTS, seen
        assert memory(server.process.pid) < 1.2 * before
        assert not [line for line in server.lines if "Traceback" in line]
        assert server.ask("/readyz").status == 200
