"""Plain tensors of a request: lists within lists of numbers, of the form that a net takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from torchkiln.bundle.manifest import Tensor
from torchkiln.bundle.wrong import Wrong, shown
from torchkiln.codec.base import Array, Ragged

_WORDS = {"f": "numbers", "i": "whole numbers", "u": "whole numbers", "b": "true or false"}
_TYPES: dict[str, set[type]] = {"f": {float, int}, "i": {int}, "u": {int}, "b": {bool}}


def reader(tensor: Tensor, field: Mapping[str, Any]) -> Callable[[list[Any]], Array | Ragged]:
    """Reads the values of one tensor's field, a record each.

    Args:
        tensor: As in the manifest.
        field: Its part of the request's schema, with the limits of lengths and values.
    """
    kind = np.dtype(tensor.dtype).kind
    if kind not in _TYPES:
        raise ValueError(f"tensor {tensor.name!r} is of {tensor.dtype}, which no record can hold")
    limits = _limits(field, len(tensor.shape) - 1)
    accepted = _words(tensor, kind, limits)

    quick = _vectors(tensor, limits) if kind == "f" else None

    def read(values: list[Any]) -> Array | Ragged:
        if quick is not None and (made := quick(values)) is not None:
            return made
        arrays = [_array(value, tensor.dtype, kind, limits, i, accepted) for i, value in enumerate(values)]
        return _joined(arrays, tensor)

    return read


def _vectors(tensor: Tensor, limits: _Limits) -> Callable[[list[Any]], Array | None] | None:
    """Reads records of one list of numbers each, which most requests to small nets are; None for anything unusual.

    The same array as the longer way gives, in a third of its time.
    """
    if len(limits.lengths) != 1 or limits.low is not None or limits.lengths[0][0] != limits.lengths[0][1]:
        return None
    size, dtype = limits.lengths[0][0], tensor.dtype
    largest = float(np.finfo(dtype).max) / 2

    def read(values: list[Any]) -> Array | None:
        for value in values:
            if type(value) is not list or len(value) != size or not set(map(type, value)) <= _TYPES["f"]:
                return None
            # A NaN makes the sum one, and what is too large for the type is left to the longer way.
            if not (value and max(value) < largest and min(value) > -largest and math.isfinite(sum(value))):
                return None
        return np.array(values, dtype)

    return read


class _Limits:
    """Of each dimension behind the batch, and of the values: low and high, None where there is none."""

    def __init__(self, lengths: Sequence[tuple[int, int | None]], low: float | None, high: float | None) -> None:
        self.lengths, self.low, self.high = lengths, low, high


def _limits(field: Mapping[str, Any], depth: int) -> _Limits:
    lengths = []
    for _ in range(depth):
        lengths.append((field.get("minItems", 0), field.get("maxItems")))
        field = field.get("items", {})
    return _Limits(lengths, field.get("minimum"), field.get("maximum"))


def _words(tensor: Tensor, kind: str, limits: _Limits) -> str:
    sizes = [
        str(low) if low == high else f"{low} to {high}" if high is not None else "any" for low, high in limits.lengths
    ]
    bounds = "" if limits.low is None else f" from {limits.low} to {limits.high}"
    if not sizes:
        return f"one of {_WORDS[kind]}{bounds} ({tensor.dtype})"
    return f"{_WORDS[kind]}{bounds} ({tensor.dtype}) of shape [{', '.join(sizes)}]"


def _array(value: Any, dtype: str, kind: str, limits: _Limits, record: int, accepted: str) -> Array:
    """One record's tensor; every fault is found before anything is given to the runtime."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in (kind, *(("i", "u") if kind in "fiu" else ())):
            raise Wrong(record, f"an array of {value.dtype}", accepted)
        value = value.tolist()
    shape: list[int] = []
    level: list[Any] = [value]
    for low, high in limits.lengths:
        size = _size(level, record, accepted)
        if size < low or (high is not None and size > high):
            raise Wrong(record, f"{size} of them in dimension {len(shape) + 1}", accepted)
        shape.append(size)
        level = list(chain.from_iterable(level))
    if not set(map(type, level)) <= _TYPES[kind]:
        raise Wrong(record, shown(next(v for v in level if type(v) not in _TYPES[kind])), accepted)
    return _checked(level, dtype, limits, record, accepted).reshape(shape)


def _size(level: list[Any], record: int, accepted: str) -> int:
    """How long each list of a level is, once all are lists of one length."""
    if not set(map(type, level)) <= {list, tuple}:
        raise Wrong(record, shown(next(v for v in level if not isinstance(v, list | tuple))), accepted)
    sizes = set(map(len, level))
    if len(sizes) > 1:
        raise Wrong(record, f"lists of different lengths ({', '.join(map(str, sorted(sizes)[:3]))})", accepted)
    return sizes.pop() if sizes else 0


def _checked(flat: list[Any], dtype: str, limits: _Limits, record: int, accepted: str) -> Array:
    with np.errstate(over="ignore"):
        try:
            out = np.array(flat, dtype)
        except OverflowError:
            raise Wrong(record, f"{shown(max(flat, key=abs))}, out of range", accepted) from None
    if out.dtype.kind == "f" and not np.isfinite(out).all():
        raise Wrong(record, f"{flat[int(np.isfinite(out).argmin())]}, no finite {dtype}", accepted)
    if limits.low is not None and limits.high is not None and out.size:
        outside = (out < limits.low) | (out > limits.high)
        if outside.any():
            raise Wrong(record, f"{flat[int(outside.argmax())]}, out of range", accepted)
    return out


def _joined(arrays: Sequence[Array], tensor: Tensor) -> Array | Ragged:
    """Records of one shape are an array; those whose first dimension differs are `Ragged`."""
    if len(arrays) == 1:
        return arrays[0][None]
    for i, array in enumerate(arrays):
        if array.shape[1:] != arrays[0].shape[1:]:
            raise Wrong(i, f"the shape {list(array.shape)} beside {list(arrays[0].shape)} of the first record",
                        "one shape a request, but for the first dimension")  # fmt: skip
    if len({len(array) if array.ndim else 0 for array in arrays}) == 1:
        return np.stack(arrays)
    offsets = np.cumsum([0, *(len(array) for array in arrays)])
    return Ragged(np.concatenate(arrays), offsets, tensor.pad or 0)
