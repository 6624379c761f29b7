from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchkiln.serving.body import inflated, parse, read
from torchkiln.serving.limits import Limits
from torchkiln.serving.refusal import Refusal

LIMITS = Limits(body_mb=0.001, inflated_mb=0.01)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


def received(*messages: dict[str, Any], headers: dict[bytes, bytes] | None = None) -> bytes:
    waiting = list(messages)

    async def receive() -> Any:
        return waiting.pop(0)

    return asyncio.run(read(headers or {}, receive, LIMITS))


def piece(body: bytes, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_pieces_are_joined_and_counted() -> None:
    assert received(piece(b"a", True), piece(b"b", True), piece(b"c", False)) == b"abc"
    with pytest.raises(Refusal) as refused:  # before the last piece
        received(piece(b"a" * 900, True), piece(b"b" * 200, True))
    assert refused.value.status == 413
    with pytest.raises(Refusal) as refused:  # before the first
        received(headers={b"content-length": b"1001"})
    assert refused.value.status == 413


def test_a_client_that_leaves() -> None:
    for messages in ([], [piece(b"a", True)]):
        with pytest.raises(Refusal) as refused:
            received(*messages, {"type": "http.disconnect"})
        assert refused.value.status == 499


def test_inflation_has_two_bounds() -> None:
    assert inflated(gzip.compress(b"x" * 500), b"GZIP", LIMITS) == b"x" * 500
    with pytest.raises(Refusal, match="inflates beyond"):  # the ratio
        inflated(gzip.compress(b"x" * 9_000), b"gzip", LIMITS)
    with pytest.raises(Refusal, match="inflates beyond"):  # the size
        inflated(gzip.compress(bytes(range(256)) * 40), b"gzip", Limits(inflated_mb=0.01, ratio=10_000))


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_json_is_read_as_python_reads_it(value: Any) -> None:
    assert parse(json.dumps(value).encode(), LIMITS) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode(), LIMITS) == value


@pytest.mark.parametrize(
    "text",
    ['{"a":1,"a":1}', '[{"a":1,"a":2}]', '{"x":{"a":1,"a":2}}', '{"x":[{"a":1,"a":2}]}', '[[{"a":1,"a":2}]]',
     '{"x":[1,{"a":1,"a":2}]}', '{":":1,":":2}', '{"a":":","\\u0061":1}'],
)  # fmt: skip
def test_a_key_twice_is_seen_wherever_it_is(text: str) -> None:
    with pytest.raises(Refusal, match="twice"):
        parse(text.encode(), LIMITS)


@pytest.mark.parametrize(("depth", "good"), [(64, True), (65, False)])
def test_depth_is_exact(depth: int, good: bool) -> None:
    for text in ("[" * depth + "]" * depth, "[[]," * (depth - 1) + "[]" + "]" * (depth - 1),
                 '{"]":' * depth + "1" + "}" * depth):  # fmt: skip
        if good:
            parse(text.encode(), LIMITS)
        else:
            with pytest.raises(Refusal, match="deeper than 64"):
                parse(text.encode(), LIMITS)
