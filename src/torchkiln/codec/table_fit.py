"""Fits a `TableCodec`: decides what each column is, and says which are left out and why."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from torchkiln.codec.base import Array
from torchkiln.codec.table import (
    DATE_PARTS,
    ISO_FORMATS,
    CategoryField,
    DateField,
    Field,
    NumberField,
    Place,
    PresenceField,
    Scaling,
    TableCodec,
    along_bearings,
    date_part,
    read_dates,
    read_names,
    read_numbers,
)
from torchkiln.codec.tree_bins import thresholds
from torchkiln.errors import DataError
from torchkiln.registry import did_you_mean

ColumnKind = Literal["numeric", "categorical", "date", "drop"]
Level = Literal["warn", "note"]

MOST_NAMES = 10_000
"""Names of a category that get a code of their own, the most frequent first."""
MOST_BINS = 128
TREE_ROWS = 100_000
"""Rows that bins are looked for in; more change the bounds little and cost much."""
STRAY_SHARE = 0.02
"""A column of numbers may hold this share of other words; they then mean: missing."""
_LOOK = 1000
"""First rows that a quick look is at."""
RECURRING = ("month", "day", "weekday", "hour")
"""Parts of a date that come again."""
OTHER_DATE_FORMATS = [
    "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y%m%d", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M", "%Y/%m/%d %H:%M", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d %b %Y", "%d-%b-%Y",
    "%b %d, %Y", "%B %d, %Y",
]  # fmt: skip
_MANY_VALUES = ("id_like_column", "free_text_column")
_LATITUDE = re.compile(r"(?<![a-z])lat(itude)?(?![a-z])", re.IGNORECASE)
_LONGITUDE = re.compile(r"(?<![a-z])(lng|long?(itude)?)(?![a-z])", re.IGNORECASE)
_ID_NAME = re.compile(r"(^|[_\s-])(id|uuid|guid|index|key)$|^unnamed", re.IGNORECASE)
_ID_CAMEL = re.compile(r"[a-z](Id|ID)$")


@dataclass(frozen=True)
class Note:
    """Something about a column that the person should know.

    Args:
        code: Stable word, such as `constant_column`.
        text: One sentence.
    """

    code: str
    level: Level
    column: str
    text: str


def fit(
    train: pl.DataFrame,
    target: Array,
    *,
    classes: bool,
    kinds: Mapping[str, ColumnKind] | None = None,
    exclude: Collection[str] = (),
    ordered_by: str | None = None,
) -> tuple[TableCodec, list[Note]]:
    """A codec for the columns of `train`.

    Args:
        train: Training rows.
        target: int64 classes or float32 numbers, [n]: bins are laid where it changes.
        classes: Which of both.
        kinds: What columns are, where the inferred kind is wrong.
        exclude: Columns that are no inputs, such as the target.
        ordered_by: The column that tells the time of a split by time. Of it only what comes again is
            used, such as the weekday: the test lies in years that training has not seen.

    Raises:
        DataError: `kinds` names a column that is not there, a column does not hold what it is said to
            hold, or no column is left.
    """
    kinds = kinds or {}
    _check_known(kinds, train, exclude)
    used = [name for name in train.columns if name not in exclude and kinds.get(name) != "drop"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy and polars let go of the interpreter
        found = list(pool.map(
            lambda name: _Fit(train[name], target, classes, name == ordered_by).field(kinds.get(name)), used
        ))  # fmt: skip
    fields = [field for field, _ in found if field]
    notes = [note for _, said in found for note in said]
    if not fields:
        why = "; ".join(n.text for n in notes) or "the table has no further column"
        raise DataError(f"no column is left to learn from: {why}")
    return TableCodec(fields, _places(fields, train, target, classes)), notes


def infer_kind(values: pl.Series) -> tuple[ColumnKind, list[Note]]:
    """What a column seems to be, and why it is left out where it is `drop`."""
    found = _reason_to_drop(values)
    if found:
        return "drop", [found]
    if values.dtype.is_numeric() or values.dtype in (pl.Duration, pl.Time):
        return "numeric", []
    if values.dtype in (pl.Date, pl.Datetime):
        return "date", []
    if values.dtype == pl.String:
        return _kind_of_words(values)
    if values.dtype in (pl.Boolean, pl.Categorical) or isinstance(values.dtype, pl.Enum):
        return "categorical", []
    text = f"column {values.name!r} is left out: it holds {values.dtype}, neither numbers, names nor dates"
    return "drop", [Note("unreadable_column", "warn", values.name, text)]


class _Fit:
    """One column, and what the fields that can be made of it share."""

    def __init__(self, values: pl.Series, target: Array, classes: bool, is_order: bool) -> None:
        self.values, self.target, self.classes, self.is_order = values, target, classes, is_order
        self.name = values.name

    def field(self, kind: ColumnKind | None) -> tuple[Field | None, list[Note]]:
        """The column's field, None where it is left out, and a word on what was done."""
        notes: list[Note] = []
        if kind is None:
            kind, notes = infer_kind(self.values)
            if self.is_order and kind != "date":
                text = f"column {self.name!r} is left out: rows are split by it, so the test holds other values"
                return None, [Note("order_column", "note", self.name, text)]
        match kind:
            case "numeric":
                return self._number(), notes + self._infinite()
            case "date":
                return self._date(), notes
            case "categorical":
                return self._category(), notes
        return self._presence(notes)

    def _number(self) -> NumberField:
        words = _stray_words(self.values)
        numbers, bad = read_numbers(self.values, words)
        if bad.any() or np.isnan(numbers).all():
            held = repr(self.values.filter(pl.Series(bad))[0]) if bad.any() else "no number"
            raise DataError(f"column {self.name!r} is said to be numeric, but holds {held}")
        return NumberField(self.name, self.scaling(numbers), bool(np.isnan(numbers).any()), words)

    def _date(self) -> DateField:
        formats = date_formats(self.values)
        if formats is None:
            shown = self.values.drop_nulls()
            raise DataError(f"column {self.name!r} is said to be a date, but {shown[0]!r} is written in no "
                            f"known way, such as {', '.join(ISO_FORMATS[:2])}")  # fmt: skip
        dates, _ = read_dates(self.values, formats)
        parts = {p: date_part(dates, p) for p in (RECURRING if self.is_order else DATE_PARTS)}
        varying = {p: self.scaling(v) for p, v in parts.items() if _varies(v)}
        return DateField(self.name, formats, varying, dates.null_count() > 0)

    def _category(self) -> CategoryField:
        values, often = self.values.value_counts(name="count").get_columns()
        names, least = read_names(values), 2 if len(self.values) >= 100 else 1
        counts = pl.DataFrame({"name": names, "count": often}).group_by("name").sum().rows()
        kept = sorted((n for n in counts if n[0] is not None and n[1] >= least), key=lambda n: (-n[1], n[0]))[
            :MOST_NAMES
        ]
        return CategoryField(self.name, sorted(n[0] for n in kept), any(n[0] is None and n[1] >= least for n in counts))

    def _presence(self, notes: list[Note]) -> tuple[PresenceField | None, list[Note]]:
        """What is left of a column that is dropped for its many different values."""
        if self.values.dtype != pl.String or not any(n.code in _MANY_VALUES for n in notes):
            return None, notes
        missing = read_names(self.values).null_count()
        if min(missing, len(self.values) - missing) < max(5, 0.01 * len(self.values)):
            return None, notes
        notes = [replace(n, text=f"{n.text}; only whether it is filled in is used") for n in notes]
        return PresenceField(self.name), notes

    def _infinite(self) -> list[Note]:
        if not self.values.dtype.is_float():
            return []
        count = int(self.values.is_infinite().sum())
        text = f"column {self.name!r} holds {count} infinite values in training; they are taken for missing"
        return [Note("infinite_values", "warn", self.name, text)] if count else []

    def scaling(self, numbers: npt.NDArray[np.float64]) -> Scaling:
        """How numbers made from this column, NaN where missing, are brought to like size."""
        present = numbers[np.isfinite(numbers)]
        fill = float(np.median(present))
        log = bool(present.min() >= 0 and np.quantile(present, 0.99) > 3 * fill)
        x = numbers if len(present) == len(numbers) else np.where(np.isfinite(numbers), numbers, fill)
        x = np.log1p(x) if log else x
        mean, scale = float(x.mean()), float(x.std()) or 1.0
        standard = ((x - mean) / scale).astype(np.float32)
        return Scaling(log, fill, mean, scale, _bins(standard, self.target, self.classes))


def _places(fields: list[Field], train: pl.DataFrame, target: Array, classes: bool) -> list[Place]:
    """Pairs of columns called latitude and longitude, or like it, whose numbers are degrees."""
    numeric = [f.column for f in fields if isinstance(f, NumberField)]
    found = []
    for latitude in numeric:
        longitudes = [c for c in numeric if (_LATITUDE.sub("*", latitude), 1) == _LONGITUDE.subn("*", c)]
        if not _LATITUDE.search(latitude) or len(longitudes) != 1:
            continue
        degrees = [read_numbers(train[c])[0] for c in (latitude, longitudes[0])]
        if all(np.nanmax(np.abs(d)) <= most for d, most in zip(degrees, (90, 180), strict=True)):
            fit = _Fit(train[latitude], target, classes, False)
            place = Place(latitude, longitudes[0], [])
            found.append(replace(place, views=[fit.scaling(v) for v in along_bearings(train, place)]))
    return found


def _bins(x: npt.NDArray[np.float32], target: Array, classes: bool) -> list[float]:
    """Bounds where a decision tree over this feature alone would split, and the outermost values.

    References:
        Gorishniy et al., "On embeddings for numerical features in tabular deep learning", 2022: 3.2.2.
    """
    step = -(-len(x) // TREE_ROWS)
    sample, goal = x[::step], target[::step]
    inner = np.array(
        thresholds(sample, goal, classes=classes, most=MOST_BINS, least=_least_rows(len(sample))), np.float32
    )
    low, high = float(x.min()), float(x.max())
    if low == high:
        return [low, low + 1.0]
    inside = sorted({float(t) for t in inner if low < t < high})
    return [low, *inside, high]


def _least_rows(rows: int) -> int:
    """Rows a bin must hold: few enough for small tables to have bins, enough not to follow noise."""
    return int(np.clip(rows // 40, 4, 16))


def _reason_to_drop(values: pl.Series) -> Note | None:
    """Constant columns and row numbers, whatever their type."""
    name = values.name
    if values.dtype == pl.String and values.head(_LOOK).str.strip_chars().replace("", None).drop_nulls().n_unique() > 1:
        return None
    present = values.drop_nulls()
    if values.dtype == pl.String:
        present = present.filter(present.str.strip_chars() != "")
    if not len(present):
        return Note("empty_column", "warn", name, f"column {name!r} is left out: it is empty in training")
    one_value = not isinstance(values.dtype, pl.List | pl.Struct | pl.Object) and present.head(_LOOK).n_unique() == 1
    if one_value and len(present) == len(values) and present.n_unique() == 1:
        text = f"column {name!r} is left out: it is {present[0]!r} in every training row"
        return Note("constant_column", "note", name, text)
    if values.dtype.is_integer() and len(values) >= 20 and all_differ(values):
        steps = np.diff(values.to_numpy().astype(np.float64))
        counted = bool((steps > 0).all() or (steps < 0).all()) and abs(steps).mean() < 10
        if counted or _named_id(name):
            text = f"column {name!r} is left out: it numbers the rows, each value occurs once"
            return Note("id_like_column", "note", name, text)
    return None


def all_differ(values: pl.Series) -> bool:
    """Whether no value stands twice and none is missing; for nearly all columns a look at the first rows tells."""
    return all(v.null_count() == 0 and v.n_unique() == len(v) for v in (values.head(_LOOK), values))


def _kind_of_words(values: pl.Series) -> tuple[ColumnKind, list[Note]]:
    """What a column of strings holds: numbers and dates in disguise, names, ids, or free text."""
    name = values.name
    words = _stray_words(values)
    distinct, counts = values.drop_nulls().value_counts(name="count").get_columns()  # each value is looked at once
    numbers, bad = read_numbers(distinct, words)
    is_code = bool(distinct.str.contains(r"^\s*0\d").any())  # postal codes and the like
    if not bad.any() and not np.isnan(numbers).all() and not is_code:
        found = [] if not words else [Note(
            "words_among_numbers", "warn", name,
            f"column {name!r} holds numbers, and {', '.join(map(repr, words))}, taken for missing",
        )]  # fmt: skip
        return "numeric", found
    if date_formats(values) is not None:
        return "date", []
    names = read_names(distinct)
    different, present = names.drop_nulls().n_unique(), int(counts.filter(names.is_not_null()).sum())
    if different <= max(10, present // 2):
        return "categorical", []
    spaces = float((names.str.count_matches(r"\s") * counts.cast(pl.Float64)).sum()) / max(present, 1)
    if spaces >= 2:
        text = f"column {name!r} is left out: it holds free text, {different} kinds of it in {present} rows"
        return "drop", [Note("free_text_column", "warn", name, text)]
    text = f"column {name!r} is left out: {different} of its {present} values differ, as in an id"
    return "drop", [Note("id_like_column", "note", name, text)]


def _stray_words(values: pl.Series) -> list[str]:
    """Words in a column that is all but numeric, in small letters; [] where it is not."""
    if values.dtype != pl.String:
        return []
    distinct, counts = values.drop_nulls().value_counts(name="count").get_columns()
    numbers, bad = read_numbers(distinct)
    often = counts.to_numpy()
    if not bad.any() or often[bad].sum() > STRAY_SHARE * often[np.isfinite(numbers)].sum():
        return []
    words = distinct.filter(pl.Series(bad)).str.strip_chars().str.to_lowercase().unique()
    return sorted(words.to_list()) if len(words) <= 3 else []


def date_formats(values: pl.Series) -> list[str] | None:
    """The ways in which all of a column's dates are written; None where it holds no dates."""
    if values.dtype in (pl.Date, pl.Datetime):
        return ISO_FORMATS
    if values.dtype != pl.String:
        return None
    few = values.drop_nulls().head(20)  # a look at them spares the whole column for nearly all that hold no dates
    for formats in (ISO_FORMATS, *([f] for f in OTHER_DATE_FORMATS)):
        if read_dates(few, formats)[1].any():
            continue
        dates, bad = read_dates(values, formats)
        if not bad.any() and dates.null_count() < len(dates):
            return formats
    return None


def _check_known(kinds: Mapping[str, ColumnKind], train: pl.DataFrame, exclude: Collection[str]) -> None:
    known = [c for c in train.columns if c not in ("key", "split")]
    for name in kinds:
        if name not in known:
            raise DataError(f"data.columns: the table has no column {name!r}{did_you_mean(name, known)}")
        if name in exclude and kinds[name] != "drop":
            raise DataError(f"data.columns: {name!r} is no input, it is the target or tells the splits")


def _named_id(name: str) -> bool:
    return bool(_ID_NAME.search(name) or _ID_CAMEL.search(name))


def _varies(numbers: npt.NDArray[np.float64]) -> bool:
    present = numbers[np.isfinite(numbers)]
    return len(present) > 0 and bool((present != present[0]).any())
