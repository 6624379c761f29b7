"""Made-up records of the kind that a model takes: for the golden examples and the page to try it on.

They come from the fitted codec and a fixed seed, so none of the person's rows is among them, and every
export makes the same.
"""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from torchkiln import randomness
from torchkiln.codec.base import ArraySpec, Axis, InputCodec
from torchkiln.codec.image import ImageCodec
from torchkiln.codec.table import CategoryField, DateField, Field, NumberField, Scaling, TableCodec
from torchkiln.codec.text import NgramCodec, TokenCodec

GOLDEN = "golden.jsonl"
COUNT = 16
_MISSING = 0.1  # of the values that may be


def records(codec: InputCodec | None, specs: Sequence[ArraySpec] = (), count: int = COUNT) -> list[dict[str, Any]]:
    """Records as JSON holds them; pictures are PNG files in base64.

    Args:
        codec: Of the run; None for plain tensors.
        specs: Form of the tensors, where there is no codec.
        count: How many.
    """
    return [_record(codec, specs, randomness.generator(0, "example", i)) for i in range(count)]


def golden(examples: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]) -> bytes:
    """The content of golden.jsonl: a line for each record, with the answer that the bundle gave it."""
    lines = (
        json.dumps({"record": record, "answer": answer}, ensure_ascii=False, allow_nan=False)
        for record, answer in zip(examples, answers, strict=True)
    )
    return "".join(f"{line}\n" for line in lines).encode()


def _record(codec: InputCodec | None, specs: Sequence[ArraySpec], random: np.random.Generator) -> dict[str, Any]:
    if isinstance(codec, TableCodec):
        return {field.column: _value(field, random) for field in codec.fields}
    if isinstance(codec, ImageCodec):
        return {codec.column: _picture(codec.size, random)}
    if isinstance(codec, NgramCodec | TokenCodec):
        return {codec.column: _text(codec, random)}
    lengths: dict[str, int] = {}
    return {spec.name: _tensor(spec, lengths, random) for spec in specs}


def _value(field: Field, random: np.random.Generator) -> Any:
    if random.random() < _MISSING and (isinstance(field, CategoryField) or getattr(field, "indicator", True)):
        return None
    if isinstance(field, NumberField):
        return _number(field.scaling, random)
    if isinstance(field, DateField):
        return written(dt.date(2000, 1, 1) + dt.timedelta(days=int(random.integers(0, 9000))), field.formats)
    return str(random.choice(field.names)) if isinstance(field, CategoryField) and field.names else "x"


def written(day: dt.date, formats: Sequence[str]) -> str:
    """A date as the first of polars' formats writes it."""
    return day.strftime(formats[0].replace("%.f", ""))


def _number(scaling: Scaling, random: np.random.Generator) -> float:
    """A number of the range that training saw, with as few digits as tell it apart."""
    standard = random.uniform(scaling.edges[0], scaling.edges[-1])
    value = standard * scaling.scale + scaling.mean
    if scaling.log:
        value = np.sign(value) * np.expm1(min(abs(value), 50.0))
    return float(f"{value:.4g}")


def _text(codec: NgramCodec | TokenCodec, random: np.random.Generator) -> str:
    words = [w for w in codec.words if " " not in w] if isinstance(codec, NgramCodec) else _OF_NO_ONE
    return " ".join(random.choice(words or _OF_NO_ONE, int(random.integers(1, 20))).tolist())


_OF_NO_ONE = ["it", "is", "a", "good", "day", "and", "the", "train", "to", "the", "sea", "was", "late", "again"]


def _picture(size: int, random: np.random.Generator) -> str:
    """Four patches of colour, so that nets see shapes and the file is small."""
    small = random.integers(0, 256, (2, 2, 3), dtype=np.uint8)
    out = io.BytesIO()
    side = max(2, min(size, 64))
    Image.fromarray(small).resize((side, side), Image.Resampling.NEAREST).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def _tensor(spec: ArraySpec, lengths: dict[str, int], random: np.random.Generator) -> Any:
    """Nested lists; axes of one name have one length."""
    shape = [
        lengths.setdefault(n.name, int(random.integers(1, min(n.most or 8, 8) + 1))) if isinstance(n, Axis) else n
        for n in spec.shape[1:]
    ]
    if spec.dtype.startswith("float"):
        return np.round(random.normal(size=shape), 3).tolist()
    most = 2 if spec.dtype == "bool" else spec.below or 100
    return random.integers(0, most, shape).astype(spec.dtype).tolist()
