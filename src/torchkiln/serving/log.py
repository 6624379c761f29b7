"""Logs of requests: a JSON line each, written some at a time; a full disk loses lines and no request."""

from __future__ import annotations

import hashlib
import os
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from torchkiln.errors import RunError

FLUSH_BYTES = 1 << 16


class Line(msgspec.Struct, omit_defaults=True):
    """One request of the access log.

    Args:
        time: Seconds since 1970, at the answer.
        id: The request's.
        path: As asked for, without the query.
        rows: Records of it.
        us: Microseconds from the end of the headers to the answer.
        queue_us, model_us: Of it, waiting, and in the model with all of its batch.
        client: Its address.
        traceparent: As sent.
    """

    time: float
    id: str
    method: str
    path: str
    status: int
    us: int
    model: str = ""
    version: str = ""
    rows: int = 0
    queue_us: int = 0
    model_us: int = 0
    client: str = ""
    traceparent: str = ""
    error: str = ""


class Log:
    """Where lines go: a file that is appended to, standard output, or nowhere.

    Args:
        target: A file, `-` for standard output, or None.

    Raises:
        RunError: The file cannot be written.
    """

    def __init__(self, target: str | None) -> None:
        self.lost = 0
        self._lines: list[bytes] = []
        self._size = 0
        self._handle: int | None = None
        self._encode = msgspec.json.Encoder().encode
        if target == "-":
            self._handle = sys.stdout.fileno()
        elif target is not None:
            try:
                self._handle = os.open(Path(target), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
            except OSError as error:
                raise RunError(f"{target} cannot be written ({error.strerror}); choose another file") from error

    def __bool__(self) -> bool:
        return self._handle is not None

    def add(self, line: Any) -> None:
        """Keep a line until the next `flush`, or write all where they are many."""
        content = self._encode(line)
        self._lines.append(content)
        self._size += len(content)
        if self._size > FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was kept; what cannot be written is lost and counted."""
        if not self._lines or self._handle is None:
            return
        content = b"\n".join([*self._lines, b""])
        try:
            if os.write(self._handle, content) < len(content):
                self.lost += 1
        except OSError:
            self.lost += len(self._lines)
        self._lines, self._size = [], 0


class Sample:
    """A share of the requests with their records and answers, for later looks; fields can be hashed.

    Args:
        log: Where they go.
        share: Of the requests, 0 to 1.
        hashed: Fields whose values are replaced by a keyed hash: equal values stay equal, and none can be read.
        key: Of the hash; another one for each start of the server unless it is given.
    """

    def __init__(self, log: Log, share: float, hashed: frozenset[str] = frozenset(), key: bytes | None = None) -> None:
        self.log, self.share, self.hashed = log, share, hashed
        self._key = key or os.urandom(32)
        self._random = random.Random()  # of no run: which requests are kept need not be told again

    def wanted(self) -> bool:
        """Whether this request is one of the share."""
        return bool(self.log) and self.share > 0 and self._random.random() < self.share

    def add(self, request_id: str, model: str, version: str, records: list[Any], answers: list[Any]) -> None:
        """Keep the request."""
        shown = [self._shown(record) for record in records]
        self.log.add({"id": request_id, "model": model, "version": version, "records": shown, "answers": answers})

    def _shown(self, record: Any) -> Any:
        if not isinstance(record, Mapping):
            return record
        return {n: self._hash(v) if n in self.hashed or isinstance(v, bytes) else v for n, v in record.items()}

    def _hash(self, value: Any) -> str:
        content = value if isinstance(value, bytes) else msgspec.json.encode(value)
        return "blake2b:" + hashlib.blake2b(content, key=self._key, digest_size=16).hexdigest()
