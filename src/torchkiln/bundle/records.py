"""Raw records to arrays: every fault is a sentence that names the record and the field."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from torchkiln.bundle import pictures, tensors
from torchkiln.bundle.manifest import Manifest
from torchkiln.bundle.wrong import Wrong, shown
from torchkiln.codec.base import Arrays, Codec, InputCodec
from torchkiln.codec.rows import RowReader
from torchkiln.codec.table import (
    MISSING_WORDS,
    CategoryField,
    DateField,
    Field,
    NumberField,
    PresenceField,
    TableCodec,
    read_dates,
    read_names,
)
from torchkiln.errors import DataError, RecordError
from torchkiln.registry import did_you_mean

Records = Sequence[Any]
"""Each should be a mapping of fields to values."""
Column = Callable[[list[Any]], Any]
"""The values of one field, a record each -> a column for the codec, or a tensor; raises `Wrong`."""


class Reader:
    """What a bundle is asked about, to arrays.

    Args:
        codec: The bundle's; None for a net that takes plain tensors.
        manifest, schema: Of the bundle.
    """

    def __init__(self, codec: Codec | None, manifest: Manifest, schema: Mapping[str, Any]) -> None:
        self._codec = codec.inputs if codec else None
        self._columns: dict[str, Column]
        limits = schema["limits"]
        self._rows = RowReader.of(self._codec)
        if self._codec is None:
            fields = schema["request"]["properties"]
            self._columns = {t.name: tensors.reader(t, fields[t.name]) for t in manifest.inputs}
        elif isinstance(self._codec, TableCodec):
            self._columns = {field.column: _table_column(field) for field in self._codec.fields}
        else:
            column: str = self._codec.column  # type: ignore[attr-defined]  # every codec of one column has it
            read = pictures.reader(limits["pixels"]) if self._codec.kind == "image" else _texts(limits["text_bytes"])
            self._columns = {column: read}

    def encode(self, records: Records) -> Arrays:
        """Arrays of records as they come from JSON; pictures are base64, or bytes or a `Path` from Python.

        Raises:
            RecordError: Names the record and the field.
        """
        if not records:
            raise RecordError("there is no record to predict for")
        if self._rows is not None and (quick := self._rows.read(records)) is not None:
            return quick
        self._check_names(records)
        made = {}
        for name, read in self._columns.items():
            try:
                made[name] = read([record[name] for record in records])
            except Wrong as wrong:
                raise RecordError(
                    f"records[{wrong.record}].{name}: found {wrong.found}; accepted is {wrong.accepted}",
                    record=wrong.record, field=name, too_large=wrong.too_large,
                ) from None  # fmt: skip
        return made if self._codec is None else _encoded(self._codec, pl.DataFrame(made))

    def arrays(self, given: Any) -> Arrays:
        """Arrays of whatever a person hands over in Python: records, a frame, paths of pictures, or texts.

        Frames go through the codec as they are, as the tables of training did.
        """
        if hasattr(given, "to_dict") and not isinstance(given, pl.DataFrame):
            given = _from_pandas(given)
        if isinstance(given, pl.DataFrame):
            return self.encode(given.to_dicts()) if self._codec is None else self._codec.encode(given)
        several: list[Any] = [given] if isinstance(given, Mapping | str | Path | bytes) else list(given)
        if len(self._columns) == 1 and self._codec is not None and not isinstance(self._codec, TableCodec):
            column, image = next(iter(self._columns)), self._codec.kind == "image"
            several = [
                r if isinstance(r, Mapping) else {column: Path(r) if image and isinstance(r, str) else r}
                for r in several
            ]
        return self.encode(several)

    def _check_names(self, records: Records) -> None:
        known = self._columns.keys()
        for i, record in enumerate(records):
            if not isinstance(record, Mapping):
                accepted = f"an object with the fields {', '.join(known)}"
                raise RecordError(f"records[{i}]: found {shown(record)}; accepted is {accepted}", record=i)
            if record.keys() == known:
                continue
            for name in record:
                if name not in known:
                    hint = did_you_mean(str(name), known)
                    raise RecordError(f"records[{i}]: there is no field {name!r}{hint}", record=i, field=str(name))
            name = next(name for name in known if name not in record)
            raise RecordError(f"records[{i}].{name}: it is missing; every field is needed", record=i, field=name)


def _encoded(codec: InputCodec, frame: pl.DataFrame) -> Arrays:
    if codec.kind != "image":
        return codec.encode(frame)
    keys = [f"records[{i}].{frame.columns[0]}" for i in range(len(frame))]
    try:
        return codec.encode(frame.with_columns(key=pl.Series(keys)))
    except DataError as error:  # only decoding tells that a picture is damaged; the sentence begins with its key
        record = next((i for i, key in enumerate(keys) if str(error).startswith(f"{key} ")), None)
        raise RecordError(str(error), record=record, field=frame.columns[0]) from error


_BOOL = (bool, np.bool_)


def _table_column(field: Field) -> Column:
    if isinstance(field, NumberField):
        return _numbers(field)
    return _dates(field) if isinstance(field, DateField) else _names(field)


def _numbers(field: NumberField) -> Column:
    absent = MISSING_WORDS | set(field.words)
    accepted = "a number, or null"

    def read(values: list[Any]) -> pl.Series:
        out: list[float | None] = []
        for i, value in enumerate(values):
            if type(value) is str and value.strip().lower() in absent:
                value = None
            if value is None:
                out.append(None)
            elif isinstance(value, _BOOL) or not isinstance(value, numbers.Real):
                raise Wrong(i, shown(value), accepted)
            else:
                out.append(_finite(value, i, accepted))
        return pl.Series(field.column, out, pl.Float64)

    return read


def _finite(value: numbers.Real, record: int, accepted: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Wrong(record, shown(value), f"{accepted}, up to 1.8e308")
    return number


def _dates(field: DateField) -> Column:
    accepted = f"a date written as {' or '.join(field.formats)}, or null"

    def read(values: list[Any]) -> pl.Series:
        words = [value.isoformat() if hasattr(value, "isoformat") else value for value in values]
        formats = [*field.formats, *_ISO] if words != values else field.formats
        for i, value in enumerate(words):
            if value is not None:
                _bytes(value, i, accepted)
        dates, bad = read_dates(pl.Series(field.column, words, pl.String), formats)
        if bad.any():
            i = int(bad.argmax())
            raise Wrong(i, shown(values[i]), accepted)
        return dates

    return read


_ISO = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%.f")  # as Python's own dates and times write themselves


def _names(field: CategoryField | PresenceField) -> Column:
    accepted = "a name: a string, a number, true, false, or null"

    def read(values: list[Any]) -> pl.Series:
        out: list[str | None] = []
        for i, value in enumerate(values):
            if isinstance(value, _BOOL):
                value = "true" if value else "false"
            elif isinstance(value, numbers.Real):
                number = int(value) if isinstance(value, numbers.Integral) else _finite(value, i, accepted)
                value = str(number) if isinstance(number, int) else read_names(pl.Series([number]))[0]
            elif value is not None:
                _bytes(value, i, accepted)
            out.append(value)
        return pl.Series(field.column, out, pl.String)

    return read


def _texts(most: int) -> Column:
    accepted = f"a string of at most {most:,} bytes"

    def read(values: list[Any]) -> list[str]:
        for i, value in enumerate(values):
            size = _bytes(value, i, accepted)
            if size > most:
                raise Wrong(i, f"one of {size:,} bytes", accepted, too_large=True)
        return values

    return read


def _bytes(value: Any, record: int, accepted: str) -> int:
    """How many bytes a string has; whatever else it is, is wrong."""
    if not isinstance(value, str):
        raise Wrong(record, shown(value), accepted)
    try:
        return len(value.encode())
    except UnicodeEncodeError:
        raise Wrong(record, "a string with half of a character (a lone surrogate)", accepted) from None


def _from_pandas(frame: Any) -> pl.DataFrame:
    """A pandas frame's columns; what is not equal to itself (NaN, NaT) is missing."""
    columns = frame.to_dict(orient="list")
    missing = {name: [None if value is None or value != value else value for value in c] for name, c in columns.items()}
    return pl.DataFrame(missing, strict=False)
