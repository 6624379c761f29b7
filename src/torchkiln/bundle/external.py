"""Where an ONNX file keeps weights outside of itself, read without the package onnx."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torchkiln.errors import BundleError

_DEEPEST = 64  # of graphs within graphs; protobuf's own readers stop at 100
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EXTERNAL = "external"

# Fields by their numbers in onnx.proto that lead to tensors; all others are passed over unread.
_GRAPH: dict[int, Any] = {}
_TENSOR: dict[int, Any] = {13: _EXTERNAL}
_SPARSE = {1: _TENSOR, 2: _TENSOR}
_ATTRIBUTE = {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE}
_NODE = {5: _ATTRIBUTE}
_GRAPH |= {1: _NODE, 5: _TENSOR, 15: _SPARSE}
_MODEL = {7: _GRAPH, 20: {1: _GRAPH, 2: _GRAPH}, 25: {7: _NODE, 11: _ATTRIBUTE}}


def locations(file: Path) -> set[str]:
    """Names of the files, as they are written in an ONNX file, that hold tensors of it.

    Raises:
        BundleError: It is no ONNX file.
    """
    if file.stat().st_size == 0:
        raise BundleError(f"{file} is empty")
    found: set[str] = set()
    with file.open("rb") as content, mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)
        try:
            _walk(view, _MODEL, found, 0)
        except (IndexError, ValueError) as error:
            raise BundleError(f"{file} is no ONNX file ({error})") from error
        finally:
            view.release()
    return found


def _walk(message: memoryview, kind: dict[int, Any], found: set[str], depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError("graphs within graphs, too deep")
    for number, value in _fields(message):
        below = kind.get(number)
        with value:
            if below is _EXTERNAL:
                _entry(value, found)
            elif below is not None:
                _walk(value, below, found, depth + 1)


def _entry(message: memoryview, found: set[str]) -> None:
    """One key and value of a tensor's external data."""
    pair = {number: bytes(value) for number, value in _fields(message)}
    if pair.get(1) == b"location":
        found.add(pair.get(2, b"").decode("utf-8"))


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of the fields that hold bytes."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        wire = key & 7
        if wire == _VARINT:
            _, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        elif wire == _BYTES:
            size, at = _varint(message, at)
            if at + size > end:
                raise ValueError("it is cut short")
            yield key >> 3, message[at : at + size]
            at += size
        else:
            raise ValueError(f"it has a field of the unknown kind {wire}")
    if at > end:
        raise ValueError("it is cut short")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of up to ten bytes, seven bits each, and where it ends."""
    result = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
    raise ValueError("it has a number without an end")
