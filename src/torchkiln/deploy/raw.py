"""Rows of a table as the records of a request: what a person would send, not what training has typed already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from torchkiln.codec.base import InputCodec
from torchkiln.codec.table import NumberField, TableCodec, read_numbers


def columns(codec: InputCodec) -> list[str]:
    """The columns that a record has."""
    if isinstance(codec, TableCodec):
        return [one.column for one in codec.fields]
    column: str = codec.column  # type: ignore[attr-defined]
    return [column]


def records(frame: pl.DataFrame, codec: InputCodec) -> list[dict[str, Any]]:
    """Rows as records: numbers as numbers, pictures as paths or bytes, None for a gap."""
    if isinstance(codec, TableCodec):
        values = {one.column: _values(frame[one.column], one) for one in codec.fields}
    else:
        (name,) = columns(codec)
        column = frame[name]
        if isinstance(column.dtype, pl.Struct):  # as Hugging Face writes pictures: {bytes, path}
            column = column.struct.field("bytes")
        paths = codec.kind == "image" and column.dtype == pl.String
        missing = None if codec.kind == "image" else ""  # a text that is missing is an empty one
        values = {name: [missing if v is None else Path(v) if paths else v for v in column.to_list()]}
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def _values(column: pl.Series, one: Any) -> list[Any]:
    if isinstance(one, NumberField):
        numbers, _ = read_numbers(column, one.words)
        return [None if np.isnan(n) else n for n in numbers.tolist()]
    return [None if isinstance(v, float) and np.isnan(v) else v for v in column.to_list()]
