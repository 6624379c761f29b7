"""Records of a table straight to arrays, for a request of a few rows: a data frame of one row costs ten times as much.

The same arithmetic as `TableCodec.encode` in the same order, so the same bits. What is at all unusual (a time of day, a
string among numbers, a type that a request seldom has) is left to the usual way, which also says what is wrong.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, chain
from operator import itemgetter
from typing import Any

import numpy as np

from torchkiln.codec.base import Array, InputCodec
from torchkiln.codec.table import BEARINGS, CategoryField, DateField, Field, NumberField, Scaling, TableCodec

Records = Sequence[Mapping[str, Any]]
MOST_ROWS = 256
"""Above, a data frame is as quick."""
_CELLS = frozenset({float, int, type(None)})
_DATE_FORMAT, _DATE = "%Y-%m-%d", re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EPOCH = dt.date(1970, 1, 1).toordinal()
_LARGEST = 2**53  # whole numbers up to here are the same as floats
_NAN = math.nan


class RowReader:
    """Encodes records of a table without a data frame.

    Args:
        codec: Of numbers, dates and categories alone; see `of`.
    """

    def __init__(self, codec: TableCodec) -> None:
        fields = [f for f in codec.fields if isinstance(f, NumberField | DateField)]
        self._fields = len(codec.fields)
        self._cells = _reader(fields)
        scalings = [list(f.parts.values()) if isinstance(f, DateField) else [f.scaling] for f in fields]
        starts = dict(zip([f.column for f in fields], accumulate(map(len, scalings), initial=0), strict=False))
        self._numeric = _Columns([s for some in scalings for s in some])
        self._width = sum(map(len, scalings))
        self._indicators = [starts[f.column] for f in fields if f.indicator]
        self._places = [([starts[p.longitude], starts[p.latitude]], _Columns(p.views)) for p in codec.places]
        self._categories = [_category(f) for f in codec.fields if isinstance(f, CategoryField)]

    @classmethod
    def of(cls, codec: InputCodec | None) -> RowReader | None:
        """The reader of a codec; None where it has fields that need a data frame."""
        if not isinstance(codec, TableCodec):
            return None
        return cls(codec) if all(map(_is_plain, codec.fields)) else None

    def read(self, records: Records) -> dict[str, Array] | None:
        """`numeric` and `categorical` as of the codec; None where the usual way must look.

        Args:
            records: Mappings with the codec's columns and nothing else.
        """
        rows = len(records)
        if rows > MOST_ROWS:
            return None
        try:
            cells = list(chain.from_iterable(map(self._cells, records)))
            codes = [[read(record[name]) for name, read in self._categories] for record in records]
        except (KeyError, TypeError, _Unusual):
            return None
        kinds = set(map(type, cells))
        if not kinds <= _CELLS or not set(map(len, records)) <= {self._fields}:
            return None
        missing = type(None) in kinds
        given = [cell for cell in cells if cell is not None] if missing else cells
        if int in kinds and any(type(cell) is int and abs(cell) > _LARGEST for cell in given):
            return None
        # A sum that is no finite number: a NaN or an infinity was sent, or something huge.
        if not math.isfinite(sum(given)):
            return None
        if missing:
            cells = [_NAN if cell is None else cell for cell in cells]
        values = np.array(cells, np.float64).reshape(rows, self._width)
        return {"numeric": self._encoded(values, missing), "categorical": np.array(codes, np.int64).reshape(rows, -1)}

    def _encoded(self, values: Array, missing: bool) -> Array:
        parts = [self._numeric.apply(values, missing)]
        for columns, views in self._places:
            longitude, latitude = values[:, columns[0]], values[:, columns[1]]
            turns = [math.radians(b) for b in BEARINGS]
            along = [math.cos(t) * longitude + math.sin(t) * latitude for t in turns]
            parts.append(views.apply(np.stack(along, axis=1), missing))
        if self._indicators:
            parts.append(np.isnan(values[:, self._indicators]).astype(np.float32))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


class _Columns:
    """`Scaling.apply` of many columns at once.

    Args:
        scalings: Of each.
    """

    def __init__(self, scalings: Sequence[Scaling]) -> None:
        self._fill = np.array([s.fill for s in scalings], np.float64)
        self._mean = np.array([s.mean for s in scalings], np.float64)
        self._scale = np.array([s.scale for s in scalings], np.float64)
        self._low = np.array([s.edges[0] - 1.0 for s in scalings], np.float64)
        self._high = np.array([s.edges[-1] + 1.0 for s in scalings], np.float64)
        self._logs = [i for i, s in enumerate(scalings) if s.log]

    def apply(self, values: Array, missing: bool) -> Array:
        """float64 [n, columns], NaN where missing, to float32."""
        filled = np.where(np.isnan(values), self._fill, values) if missing else values
        if self._logs:
            filled = filled.copy()
            some = filled[:, self._logs]
            filled[:, self._logs] = np.sign(some) * np.log1p(np.abs(some))
        made: Array = np.subtract(filled, self._mean)
        np.divide(made, self._scale, out=made)
        np.maximum(made, self._low, out=made)
        np.minimum(made, self._high, out=made)
        return made.astype(np.float32)


class _Unusual(Exception):
    """A cell that the usual way must read."""


def _is_plain(field: Field) -> bool:
    if isinstance(field, DateField):  # a date of this form is read by the first format, whatever the others are
        return field.formats[0] == _DATE_FORMAT and bool(field.parts)
    return isinstance(field, NumberField | CategoryField)


def _reader(fields: Sequence[NumberField | DateField]) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    """From a record to its numbers, a date taken apart; None where missing."""
    columns = [f.column for f in fields]
    if any(isinstance(f, DateField) for f in fields):
        readers = [(f.column, list(f.parts) if isinstance(f, DateField) else None) for f in fields]

        def read(record: Mapping[str, Any]) -> list[Any]:
            cells: list[Any] = []
            for column, parts in readers:
                if parts is None:
                    cells.append(record[column])
                else:
                    cells += _date(record[column], parts)
            return cells

        return read
    if len(columns) > 1:
        return itemgetter(*columns)
    return (lambda record: (record[columns[0]],)) if columns else lambda record: ()


def _date(value: Any, parts: Sequence[str]) -> list[float | None]:
    """The parts of a date, each a number of `DATE_PARTS`."""
    if value is None:
        return [None] * len(parts)
    if type(value) is not str or not _DATE.fullmatch(value):
        raise _Unusual
    try:
        date = dt.date.fromisoformat(value)
    except ValueError:
        raise _Unusual from None
    found = {"days": date.toordinal() - _EPOCH, "year": date.year, "month": date.month, "day": date.day,
             "weekday": date.isoweekday(), "hour": 0}  # fmt: skip
    return [float(found[part]) for part in parts]


def _category(field: CategoryField) -> tuple[str, Callable[[Any], int]]:
    """Column and reader of a category: names as they stand in the codec, whole numbers, null."""
    codes = {name: i + 1 for i, name in enumerate(field.names)}
    absent = field.codes - 1 if field.missing else 0

    def read(value: Any) -> int:
        kind = type(value)
        if kind is str:
            found = codes.get(value)
            if found is None:  # a space, a word for missing, or unseen
                raise _Unusual
            return found
        if value is None:
            return absent
        if kind is int and -_LARGEST <= value <= _LARGEST:
            return codes.get(str(value), 0)
        raise _Unusual

    return field.column, read
