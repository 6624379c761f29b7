"""Types of columns that were read as strings: whole numbers, numbers, or words.

Dates stay words here; `codec.table.read_dates` reads them where they are needed. Words that mean
"missing" become null. Nothing else is changed, and what looks like a number but is none is said.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from torchkiln.codec.table_fit import STRAY_SHARE
from torchkiln.data.source import Finding

MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NAN", "null", "NULL", "Null", "?")
"""Words that mean missing in any column but running text."""
_MISSING_NUMBER = ("-", "--", ".", "..", "None", "none", "na", "nil", "missing", "unknown", "Unknown")
"""Words that mean missing only where all the rest of the column are numbers."""
_LIKE_NUMBER = r"^[$€£]? ?[+-]?\d{1,3}([., ']?\d{3})*([.,]\d+)? ?[%$€£]?$"
_DECIMAL_COMMA = r"^[+-]?\d+,\d+$"
TEXT_WORDS = 4.0
"""Words a value, on average, from which a column is running text."""


def typed(frame: pl.DataFrame, text: Iterable[str] = ()) -> tuple[pl.DataFrame, list[Finding]]:
    """The frame of strings with the types its values have.

    Args:
        frame: Strings and nulls; columns of another type are left as they are.
        text: Columns known to hold running text, whose values are left as they are.

    Returns:
        Columns of Int64, Float64 or String, and what was noticed.
    """
    columns: list[pl.Series] = []
    findings: list[Finding] = []
    missing: dict[str, int] = {}
    for column in frame.get_columns():
        if column.dtype != pl.String:
            columns.append(column)
            continue
        if column.name in text or _is_text(column):
            columns.append(column.replace("", None))
            continue
        stripped = column.str.strip_chars()
        present = stripped.replace(list(MISSING), [None] * len(MISSING))
        said = present.null_count() - column.null_count() - int((stripped == "").sum())
        if said:
            missing[column.name] = said
        column, finding = _as_numbers(present)
        columns.append(column)
        findings += finding
    if missing:
        listed = ", ".join(f"{name!r} {count:,} times" for name, count in list(missing.items())[:6])
        findings.append(Finding("missing_words", "note", f"words such as NA or ? read as missing: {listed}"))
    return pl.DataFrame(columns), findings


def mean_words(column: pl.Series) -> float:
    """Words a value, on average over the first 1,000 that are there; 0 where none is."""
    mean = column.drop_nulls().head(1000).str.split(" ").list.len().mean()
    return float(mean) if isinstance(mean, float) else 0.0


def _is_text(column: pl.Series) -> bool:
    return mean_words(column) >= TEXT_WORDS


def _as_numbers(column: pl.Series) -> tuple[pl.Series, list[Finding]]:
    """The column as Int64 or Float64 where each value is a number, else as it is."""
    present = column.drop_nulls()
    if present.is_empty() or _is_code(present):
        return column, []
    numbers = column.cast(pl.Float64, strict=False)
    words = column.filter(numbers.is_null() & column.is_not_null())
    if len(words) > 0.2 * len(present):
        return column, _like_numbers(column.name, present)
    findings = []
    if len(words):
        kinds = words.unique().sort().to_list()
        shown = ", ".join(map(repr, kinds[:3])) + (" ..." if len(kinds) > 3 else "")
        if not set(kinds) <= set(_MISSING_NUMBER):
            if len(kinds) <= 3 and len(words) <= STRAY_SHARE * len(present):
                return column, []  # the codec will take these for missing, and say so
            text = f"column {column.name!r} has {len(words):,} words ({shown}) among numbers, so all are words"
            return column, [Finding("mixed_column", "warn", text)]
        text = f"column {column.name!r}: {shown} among numbers read as missing, {len(words):,} times"
        findings.append(Finding("missing_words", "note", text))
    whole = column.cast(pl.Int64, strict=False)  # from the strings: large ones do not fit a float
    return (whole if whole.null_count() == numbers.null_count() else numbers), findings


def _is_code(present: pl.Series) -> bool:
    """Digits that are no number: with leading zeros (postal codes) or too long to count with."""
    return bool(present.str.contains(r"^0\d+$|^\d{19,}$").any())


def _like_numbers(name: str, present: pl.Series) -> list[Finding]:
    like = present.filter(present.str.contains(_LIKE_NUMBER))
    if len(like) < 0.9 * len(present):
        return []
    if like.str.contains(_DECIMAL_COMMA).mean() == 1.0:
        how = "with a decimal comma; write a point in its place"
    else:
        how = "with signs in them; write plain numbers"
    text = f"column {name!r} seems to hold numbers ({like[0]!r}) {how}: until then its values are words"
    return [Finding("number_like_words", "warn", text)]
