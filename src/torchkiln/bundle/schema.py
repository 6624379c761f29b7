"""What a model takes and gives, as JSON Schema 2020-12: the content of schema.json."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from torchkiln.bundle.examples import written
from torchkiln.codec.base import ArraySpec, Axis, Codec, InputCodec
from torchkiln.codec.table import CategoryField, DateField, Field, NumberField, TableCodec
from torchkiln.codec.target import Labels

LIMITS = {"rows": 1024, "pixels": 50_000_000, "text_bytes": 1_000_000}
"""Of one request: records, pixels of a picture before it is made smaller, bytes of a text in UTF-8."""
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_MOST_EXAMPLES = 50


def make(
    codec: Codec | None, inputs: Sequence[ArraySpec], outputs: Sequence[Mapping[str, Any]], kind: str,
    classes: Sequence[str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The content of schema.json.

    Args:
        codec: Of the run; None for a net that takes plain tensors.
        inputs: Form of the tensors, for a net without a codec.
        outputs: `name`, `dtype` and `shape` of what the model gives, as in the manifest.
        kind: `classes`, `number` or `tensor`.
        classes: Names of the classes where there is no codec that knows them.
    """
    target = codec.target if codec else None
    names = target.classes if isinstance(target, Labels) else list(classes or _numbered(outputs, kind))
    fields = _of_codec(codec.inputs) if codec else {spec.name: _tensor(spec.dtype, spec) for spec in inputs}
    used = {"text_bytes"} if _is(codec, "ngrams", "tokens") else {"pixels"} if _is(codec, "image") else set()
    return {
        "request": {"$schema": _DIALECT, **_object(fields)},
        "response": {"$schema": _DIALECT, **_answer(kind, names, outputs)},
        "limits": {name: most for name, most in LIMITS.items() if name in used | {"rows"}},
        "classes": names,
        "units": {} if target is None or kind != "number" else {"prediction": f"as in the column {target.column!r}"},
    }


def _of_codec(codec: InputCodec) -> dict[str, Any]:
    if isinstance(codec, TableCodec):
        return {field.column: _field(field) for field in codec.fields}
    column: str = codec.column  # type: ignore[attr-defined]  # every codec of one column has it
    if codec.kind == "image":
        about = "A JPEG, PNG or WebP file in base64."
        return {column: {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/*",
                         "description": about}}  # fmt: skip
    return {column: {"type": "string", "maxLength": LIMITS["text_bytes"]}}


def _field(field: Field) -> dict[str, Any]:
    if isinstance(field, NumberField):
        about = "A number; null where it is not known." if field.indicator else (
            "A number; training had one in every row, and takes its median for null.")  # fmt: skip
        return {"type": ["number", "null"], "description": about, "examples": [field.scaling.fill]}
    if isinstance(field, DateField):
        about = f"A date, written as {' or '.join(field.formats)}; null where it is not known."
        shown = written(dt.date(2020, 3, 1), field.formats)
        return {"type": ["string", "null"], "description": about, "examples": [shown]}
    words = ["string", "number", "boolean", "null"]
    if isinstance(field, CategoryField):
        about = "A name; one that training did not see is taken for unknown."
        return {"type": words, "description": about, "examples": field.names[:_MOST_EXAMPLES]}
    return {"type": words, "description": "Only whether it is null matters."}


def _tensor(dtype: str, spec: ArraySpec) -> dict[str, Any]:
    """Lists within lists, the innermost of numbers; the batch is not among them."""
    whole = not dtype.startswith("float")
    made: dict[str, Any] = {"type": "integer"} if whole else {"type": "boolean" if dtype == "bool" else "number"}
    if dtype == "bool":
        made = {"type": "boolean"}
    elif spec.below is not None:
        made |= {"minimum": 0, "maximum": spec.below - 1}
    for size in reversed(spec.shape[1:]):
        limits = {"minItems": size, "maxItems": size} if isinstance(size, int) else {"minItems": 1}
        if isinstance(size, Axis) and size.most is not None:
            limits["maxItems"] = size.most
        made = {"type": "array", "items": made, **limits}
    return made


def _answer(kind: str, classes: Sequence[str], outputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    number = {"type": "number"}
    if kind == "number":
        return _object({"prediction": number})
    if kind == "classes":
        likely = {"type": "object", "propertyNames": {"enum": list(classes)}, "additionalProperties": number}
        return _object({"prediction": {"enum": list(classes)}, "confidence": number, "probabilities": likely})
    made = {}
    for one in outputs:
        value: dict[str, Any] = number
        for _ in one["shape"][1:]:
            value = {"type": "array", "items": value}
        made[one["name"]] = value
    return _object(made)


def _object(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(fields), "required": list(fields), "additionalProperties": False}


def _numbered(outputs: Sequence[Mapping[str, Any]], kind: str) -> list[str]:
    """Names for the classes of a net that has none: their numbers."""
    return [str(i) for i in range(outputs[0]["shape"][-1] or 0)] if kind == "classes" else []


def _is(codec: Codec | None, *kinds: str) -> bool:
    return codec is not None and codec.inputs.kind in kinds
