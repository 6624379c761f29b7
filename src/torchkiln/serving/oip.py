"""The Open Inference Protocol, version 2, over HTTP with the extension for binary tensors.

Arrays go in and out as the model takes them; every size is checked with whole numbers before memory is taken.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from torchkiln.bundle.manifest import Tensor
from torchkiln.codec.base import Array
from torchkiln.serving.body import parse
from torchkiln.serving.limits import Limits
from torchkiln.serving.refusal import JSON, Refusal
from torchkiln.serving.served import Served

DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
EXTENSIONS = ["binary_tensor_data", "model_repository", "model_configuration", "statistics"]
HEAD_LENGTH = b"inference-header-content-length"
_LONGEST = 1 << 31


class Request(msgspec.Struct):
    """What was asked for.

    Args:
        arrays: By our name of the input.
        rows: Of each.
        id: As sent; empty without.
        outputs: Names asked for and whether each is to be binary; empty for all.
        binary: Whether outputs that say nothing are binary.
    """

    arrays: dict[str, Array]
    rows: int
    id: str
    outputs: dict[str, bool]
    binary: bool


def read(body: bytes, head_length: bytes | None, served: Served, limits: Limits) -> Request:
    """A request's arrays.

    Raises:
        Refusal: 400 with what is wrong, 413 for too many rows.
    """
    if head_length is None:
        head, tail = body, memoryview(b"")
    else:
        if not head_length.isdigit() or int(head_length) > len(body):
            raise Refusal(400, f"the header length {head_length[:20].decode('latin-1')!r} is none of this body")
        if int(head_length) == 0:
            return _raw(body, served, limits)
        head, tail = body[: int(head_length)], memoryview(body)[int(head_length) :]
    content = parse(head, limits)
    if not isinstance(content, dict) or not isinstance(content.get("inputs"), list):
        raise Refusal(400, "a JSON object with a list of `inputs` is expected")
    wanted = {t.name: t for t in served.bundle.manifest.inputs}
    arrays: dict[str, Array] = {}
    bools = b"true" in head or b"false" in head
    for given in content["inputs"]:
        name = given.get("name") if isinstance(given, dict) else None
        if not isinstance(name, str) or name not in wanted:
            raise Refusal(400, f"there is no input {str(name)[:80]!r}; the model takes {', '.join(wanted)}")
        if name in arrays:
            raise Refusal(400, f"the input {name!r} is there twice")
        arrays[name], tail = _array(given, wanted[name], tail, bools)
    if len(tail):
        raise Refusal(400, f"{len(tail)} bytes are left behind the last binary tensor")
    if missing := [name for name in wanted if name not in arrays]:
        raise Refusal(400, f"the input {missing[0]!r} is missing")
    rows = _checked(arrays, served, limits)
    outputs, binary = _outputs(content, served)
    identity = content.get("id", "")
    if not isinstance(identity, str) or len(identity) > 256:
        raise Refusal(400, "`id` is a text of at most 256 characters")
    return Request(arrays, rows, identity, outputs, binary)


def answer(request: Request, found: Mapping[str, Array], served: Served) -> tuple[bytes, dict[bytes, bytes]]:
    """The body and the headers of an answer."""
    outputs: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for name in request.outputs or found:
        value = found[name]
        one: dict[str, Any] = {"name": name, "shape": list(value.shape), "datatype": DATATYPES[value.dtype.name]}
        if request.outputs.get(name, request.binary):
            raw = np.ascontiguousarray(value).tobytes()
            one["parameters"] = {"binary_data_size": len(raw)}
            tail.append(raw)
        else:
            one["data"] = value.ravel().tolist()
        outputs.append(one)
    content = {"model_name": served.name, "model_version": served.version, "outputs": outputs}
    if request.id:
        content["id"] = request.id
    head = msgspec.json.encode(content)
    if not tail:
        return head, {b"content-type": JSON}
    return b"".join([head, *tail]), {
        b"content-type": b"application/octet-stream",
        b"inference-header-content-length": str(len(head)).encode(),
    }


def metadata(served: Served, versions: list[str]) -> dict[str, Any]:
    """The document of a model."""
    manifest = served.bundle.manifest
    return {
        "name": served.name,
        "versions": versions,
        "platform": "onnx_onnxv1",
        "inputs": [_tensor(t) for t in manifest.inputs],
        "outputs": [_tensor(t) for t in manifest.outputs],
    }


def config(served: Served) -> dict[str, Any]:
    """A model's configuration, as Triton's clients read it."""
    manifest = served.bundle.manifest
    ios = {
        kind: [{"name": t.name, "data_type": f"TYPE_{DATATYPES[t.dtype]}", "dims": [n or -1 for n in t.shape[1:]]}
               for t in tensors]
        for kind, tensors in (("input", manifest.inputs), ("output", manifest.outputs))
    }  # fmt: skip
    return {"name": served.name, "platform": "onnx_onnxv1", "backend": "onnxruntime",
            "max_batch_size": served.limits.batch, **ios}  # fmt: skip


def statistics(served: Served) -> dict[str, Any]:
    """What a version has done; times in nanoseconds."""
    good = sum(n for status, n in served.answered.items() if status == 200)
    bad = sum(n for status, n in served.answered.items() if status >= 400)
    return {
        "name": served.name,
        "version": served.version,
        "last_inference": 0,
        "inference_count": round(served.batch.sum),
        "execution_count": served.executions,
        "inference_stats": {
            "success": {"count": good, "ns": round(served.total.sum * 1e9)},
            "fail": {"count": bad, "ns": 0},
            "queue": {"count": good, "ns": round(served.queue.sum * 1e9)},
            "compute_input": {"count": good, "ns": round(served.codec.sum * 1e9)},
            "compute_infer": {"count": served.executions, "ns": round(served.model.sum * 1e9)},
            "compute_output": {"count": good, "ns": 0},
            "cache_hit": {"count": 0, "ns": 0},
            "cache_miss": {"count": 0, "ns": 0},
        },
        "batch_stats": [],
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    shape = [-1 if n is None else n for n in tensor.shape]
    return {"name": tensor.name, "datatype": DATATYPES[tensor.dtype], "shape": shape}


def _raw(body: bytes, served: Served, limits: Limits) -> Request:
    """A body without a head: one row of the only input."""
    inputs = served.bundle.manifest.inputs
    if len(inputs) != 1:
        raise Refusal(400, f"a body without a JSON head is for models of one input; this one has {len(inputs)}")
    one = inputs[0]
    size = np.dtype(one.dtype).itemsize
    free = [i for i, n in enumerate(one.shape) if n is None and i]
    known = math.prod(n for n in one.shape[1:] if n is not None) * size
    if len(free) > 1 or not body or len(body) % known or (not free and len(body) != known):
        raise Refusal(400, f"{len(body)} bytes are no row of {one.name!r}, {DATATYPES[one.dtype]} of shape "
                      f"{[1, *(n or -1 for n in one.shape[1:])]}")  # fmt: skip
    shape = [1, *(n if n is not None else len(body) // known for n in one.shape[1:])]
    arrays = {one.name: np.frombuffer(body, one.dtype).reshape(shape)}
    return Request(arrays, _checked(arrays, served, limits), "", {}, True)


def _array(given: Mapping[str, Any], tensor: Tensor, tail: memoryview, bools: bool) -> tuple[Array, memoryview]:
    """One input's array, and the binary bytes behind it; `bools`: whether `true` may stand among the numbers."""
    name = tensor.name
    datatype, shape = given.get("datatype"), given.get("shape")
    if datatype != DATATYPES[tensor.dtype]:
        raise Refusal(400, f"input {name!r}: {str(datatype)[:20]!r} is sent and {DATATYPES[tensor.dtype]} is taken")
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < _LONGEST for n in shape):
        raise Refusal(400, f"input {name!r}: a shape of whole numbers from 0 is expected")
    if len(shape) != len(tensor.shape) or any(w not in (None, n) for n, w in zip(shape, tensor.shape, strict=True)):
        accepted = [-1 if n is None else n for n in tensor.shape]
        raise Refusal(400, f"input {name!r}: the shape {str(shape)[:80]} is sent and {accepted} is taken")
    count, dtype = math.prod(shape), np.dtype(tensor.dtype)
    parameters = given.get("parameters") or {}
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None:
        if "data" in given or type(size) is not int or size != count * dtype.itemsize or size > len(tail):
            raise Refusal(400, f"input {name!r}: {str(size)[:20]} binary bytes do not fit the shape {shape}, which is "
                          f"{count * dtype.itemsize}, or the body, of which {len(tail)} are left")  # fmt: skip
        return np.frombuffer(tail[:size], dtype).reshape(shape), tail[size:]
    return _from_json(given.get("data"), count, dtype, name, bools).reshape(shape), tail


def _from_json(data: Any, count: int, dtype: np.dtype[Any], name: str, bools: bool) -> Array:
    """`data`, nested or flat, as numbers that the type holds."""
    if not isinstance(data, list):
        raise Refusal(400, f"input {name!r}: `data` is expected, or binary bytes")
    try:
        found = np.array(data)
    except ValueError:
        raise Refusal(400, f"input {name!r}: the lists of `data` are not of equal length") from None
    if found.size != count:
        raise Refusal(400, f"input {name!r}: `data` has {found.size} values and the shape asks for {count}")
    if not count:
        return np.empty(0, dtype)
    # NumPy takes true for 1 beside numbers: a list that holds a bool is told by its own types.
    kinds = {"b": "b", "u": "iu", "i": "iu", "f": "iuf"}[dtype.kind]
    if found.dtype.kind not in kinds or (bools and dtype.kind != "b" and _has_bool(data)):
        raise Refusal(400, f"input {name!r}: `data` holds other things than {DATATYPES[dtype.name]}")
    if dtype.kind in "iu" and (found.min() < np.iinfo(dtype).min or found.max() > np.iinfo(dtype).max):
        raise Refusal(400, f"input {name!r}: a value is out of the range of {DATATYPES[dtype.name]}")
    with np.errstate(over="ignore"):  # what becomes infinite is refused with all that is
        return found.astype(dtype).ravel()


def _has_bool(data: list[Any]) -> bool:
    if data and type(data[0]) is list:
        return any(_has_bool(one) for one in data)
    return bool in set(map(type, data))


def _checked(arrays: Mapping[str, Array], served: Served, limits: Limits) -> int:
    """How many rows there are; all inputs have as many, floats are finite and ids known."""
    counts = {len(value) for value in arrays.values()}
    rows = counts.pop()
    if counts or rows == 0:
        raise Refusal(400, "the inputs differ in their number of rows, or have none")
    if rows > limits.rows:
        raise Refusal(413, f"{rows:,} rows are sent and one request takes {limits.rows:,}")
    for name, value in arrays.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise Refusal(400, f"input {name!r} holds a value that is no finite number")
        if value.size == 0:
            continue
        bound = served.vocabulary.get(name)
        if bound is not None and ((value < 0) | (value >= bound)).any():
            raise Refusal(400, f"input {name!r} holds an id outside of the vocabulary, 0 to {np.max(bound) - 1}")
    return rows


def _outputs(content: Mapping[str, Any], served: Served) -> tuple[dict[str, bool], bool]:
    """Outputs asked for, and whether the others are binary."""
    parameters = content.get("parameters") or {}
    binary = isinstance(parameters, dict) and parameters.get("binary_data_output") is True
    known = {t.name for t in served.bundle.manifest.outputs}
    asked: dict[str, bool] = {}
    given = content.get("outputs") or []
    for one in given if isinstance(given, list) else [None]:
        if not isinstance(one, dict):
            raise Refusal(400, "`outputs` is a list of objects with a `name`")
        name = one.get("name")
        if not isinstance(name, str) or name not in known or name in asked:
            raise Refusal(400, f"there is no output {str(name)[:80]!r}, or it is asked for twice; the model gives "
                          f"{', '.join(sorted(known))}")  # fmt: skip
        own = one.get("parameters") or {}
        if isinstance(own, dict) and own.get("classification") is not None:
            raise Refusal(400, "the classification extension is not spoken here; ask for the output itself")
        asked[name] = own.get("binary_data", binary) is True if isinstance(own, dict) else binary
    return asked, binary
