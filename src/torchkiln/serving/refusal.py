"""A request that is not answered with a prediction: its status, and one sentence for the caller.

On our own routes it goes out as problem+json (RFC 9457), on those of the Open Inference Protocol as
`{"error": ...}`, which its clients look for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

PROBLEM = b"application/problem+json"
JSON = b"application/json"
_TITLES = {
    400: "malformed",
    401: "no_token",
    403: "not_allowed",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_input",
    429: "rate_limited",
    431: "headers_too_large",
    499: "client_left",
    500: "model_failed",
    503: "unavailable",
    504: "deadline_passed",
}
"""A stable word for each status."""


class Refusal(Exception):
    """An answer other than a prediction.

    Args:
        status: Of HTTP.
        detail: One sentence: what, where, what is accepted. It holds no path of this machine.
        title: A stable word, where that of the status is too wide.
        headers: Beside those of every answer, such as `retry-after`.
        close: Whether the connection ends with it.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        title: str | None = None,
        headers: Mapping[bytes, bytes] | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.close = status, detail, close
        self.title = title or _TITLES[status]
        self.headers = dict(headers or {})

    def problem(self, request_id: str) -> bytes:
        """The body on our own routes."""
        content: dict[str, Any] = {"type": "about:blank", "title": self.title, "status": self.status,
                                   "detail": self.detail, "request_id": request_id}  # fmt: skip
        return msgspec.json.encode(content)

    def oip(self) -> bytes:
        """The body on the routes of the Open Inference Protocol."""
        return msgspec.json.encode({"error": self.detail})


def busy(why: str, after: int = 1) -> Refusal:
    """503, to be tried again.

    Args:
        why: One sentence.
        after: Seconds that the caller had better wait.
    """
    return Refusal(503, why, headers={b"retry-after": str(after).encode()})
