"""Bodies of requests: read within their bounds, inflated within theirs, and JSON held to the letter."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec

from torchkiln.serving.limits import Limits
from torchkiln.serving.refusal import Refusal

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Mapping[bytes, bytes]

_decode = msgspec.json.Decoder().decode
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
_ROUND = bytes.maketrans(b"{}", b"[]")


async def read(headers: Headers, receive: Receive, limits: Limits) -> bytes:
    """The whole body, inflated.

    Raises:
        Refusal: 413 where it is over a limit, declared, counted or inflated; 415 for an encoding that is not known;
            499 where the client leaves before its end.
    """
    declared = headers.get(b"content-length")
    if declared is not None and int(declared) > limits.body_bytes:
        raise _too_large(limits)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Refusal(499, "the client has left")
    body: bytes = message["body"]
    if message["more_body"]:
        body = await _rest(bytearray(body), receive, limits)
    if len(body) > limits.body_bytes:
        raise _too_large(limits)
    encoding = headers.get(b"content-encoding")
    return body if encoding is None else inflated(body, encoding, limits)


async def _rest(body: bytearray, receive: Receive, limits: Limits) -> bytes:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(499, "the client has left")
        body += message["body"]
        if len(body) > limits.body_bytes:
            raise _too_large(limits)
        if not message["more_body"]:
            return bytes(body)


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"the body is over {limits.body_mb:g} MB")


def inflated(body: bytes, encoding: bytes, limits: Limits) -> bytes:
    """The body behind `content-encoding`: gzip, deflate or identity.

    Raises:
        Refusal: 413 where it becomes too large, 400 where it is damaged, 415 for another encoding.
    """
    name = encoding.strip().lower()
    if name == b"identity":
        return body
    if name not in (b"gzip", b"deflate"):
        raise Refusal(415, "bodies are taken as they are, or encoded as gzip or deflate")
    most = min(limits.inflated_bytes, limits.ratio * max(len(body), 1))
    # 47 takes the headers of gzip and zlib alike.
    machine = zlib.decompressobj(47)
    try:
        out = machine.decompress(body, most + 1)
    except zlib.error:
        raise Refusal(400, f"the body is no valid {name.decode()}") from None
    if len(out) > most:
        raise Refusal(413, f"the body inflates beyond {limits.inflated_mb:g} MB or {limits.ratio} times its size")
    if not machine.eof or machine.unused_data:
        raise Refusal(400, f"the body is no valid {name.decode()}: it is cut short or goes on behind its end")
    return out


def parse(body: bytes, limits: Limits) -> Any:
    """The JSON value of a body.

    Raises:
        Refusal: 400, with what is wrong: empty, cut short, NaN, numbers too large, too deep, a key twice.
    """
    if not body:
        raise Refusal(400, "the body is empty; a JSON value is expected")
    if body.count(b"[") + body.count(b"{") > limits.depth and _depth(body, limits.depth) > limits.depth:
        raise Refusal(400, f"the JSON is nested deeper than {limits.depth} levels")
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, f"the body is no valid JSON ({error}); NaN and Infinity are none") from None
    # Each key brings a colon. As many colons as keys that were kept: none was there twice. Otherwise they may stand
    # in texts, and a slower reader looks.
    colons = body.count(b":")
    if not (type(value) is dict and colons == len(value)) and colons != _keys(value):
        try:
            json.loads(body, object_pairs_hook=_no_key_twice)
        except (ValueError, RecursionError):
            raise Refusal(400, "the body is no valid JSON") from None
    return value


def _keys(value: Any) -> int:
    """Keys of an object, or of those in a list, and of theirs: what requests for predictions have."""
    if type(value) is list:
        return sum(map(_keys, [one for one in value if type(one) is dict]))
    if type(value) is not dict:
        return 0
    count = len(value)
    for one in value.values():
        kind = type(one)
        if kind is dict or (kind is list and one and type(one[0]) is dict):
            count += _keys(one)
    return count


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Refusal(400, f"the JSON has the key {twice[:80]!r} twice in one object")
    return found


def _depth(body: bytes, most: int) -> int:
    """How deep brackets are nested outside of strings; `most` + 1 for anything deeper."""
    if b'"' in body:
        body = _STRING.sub(b"", body)
    brackets = body.translate(_ROUND, _NO_BRACKET)
    level = 0
    while brackets and level <= most:
        fewer = brackets.replace(b"[]", b"")
        if len(fewer) == len(brackets):
            return level + brackets.count(b"[")  # not balanced: the parser says so, unless it is too deep for it
        brackets, level = fewer, level + 1
    return level
