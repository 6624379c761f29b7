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
        column, said = _present(column)
        if said:
            missing[column.name] = said
        column, finding = _as_numbers(column)
        columns.append(column)
        findings += finding
    if missing:
        listed = ", ".join(f"{name!r} {count:,} times" for name, count in list(missing.items())[:6])
        findings.append(Finding("missing_words", "note", f"words such as NA or ? read as missing: {listed}"))
    return pl.DataFrame(columns), findings


def _present(column: pl.Series) -> tuple[pl.Series, int]:
    """The column without spaces around its values, null where one is missing; and how often a word said that."""
    distinct = column.drop_nulls().unique()
    bare = distinct.str.strip_chars()
    if not (bare != distinct).any() and not bare.is_in(MISSING).any():
        return column, 0
    stripped = column.str.strip_chars()
    present = stripped.replace(list(MISSING), [None] * len(MISSING))
    return present, present.null_count() - column.null_count() - int((stripped == "").sum())


def mean_words(column: pl.Series) -> float:
    """Words a value, on average over the first 1,000 that are there; 0 where none is."""
    mean = column.drop_nulls().head(1000).str.split(" ").list.len().mean()
    return float(mean) if isinstance(mean, float) else 0.0


def _is_text(column: pl.Series) -> bool:
    return mean_words(column) >= TEXT_WORDS


def _as_numbers(column: pl.Series) -> tuple[pl.Series, list[Finding]]:
    """The column as Int64 or Float64 where each value is a number, else as it is."""
    values, counts = column.drop_nulls().value_counts(name="count").get_columns()  # each value is looked at once
    if values.is_empty() or _is_code(values):
        return column, []
    no_number = values.cast(pl.Float64, strict=False).is_null()
    words, present = int(counts.filter(no_number).sum()), int(counts.sum())
    if words > 0.2 * present:
        return column, _like_numbers(column, values, counts)
    findings = []
    if words:
        kinds = values.filter(no_number).sort().to_list()
        shown = ", ".join(map(repr, kinds[:3])) + (" ..." if len(kinds) > 3 else "")
        if not set(kinds) <= set(_MISSING_NUMBER):
            if len(kinds) <= 3 and words <= STRAY_SHARE * present:
                return column, []  # the codec will take these for missing, and say so
            text = f"column {column.name!r} has {words:,} words ({shown}) among numbers, so all are words"
            return column, [Finding("mixed_column", "warn", text)]
        text = f"column {column.name!r}: {shown} among numbers read as missing, {words:,} times"
        findings.append(Finding("missing_words", "note", text))
    numbers = column.cast(pl.Float64, strict=False)
    whole = column.cast(pl.Int64, strict=False)  # from the strings: large ones do not fit a float
    return (whole if whole.null_count() == numbers.null_count() else numbers), findings


def _is_code(present: pl.Series) -> bool:
    """Digits that are no number: with leading zeros (postal codes) or too long to count with."""
    return bool(present.str.contains(r"^0\d+$|^\d{19,}$").any())


def _like_numbers(column: pl.Series, values: pl.Series, counts: pl.Series) -> list[Finding]:
    """A word where nine in ten of the values, each with its count, would be numbers but for how they are written."""
    alike = values.str.contains(_LIKE_NUMBER)
    if int(counts.filter(alike).sum()) < 0.9 * int(counts.sum()):
        return []
    if values.filter(alike).str.contains(_DECIMAL_COMMA).all():
        how = "with a decimal comma; write a point in its place"
    else:
        how = "with signs in them; write plain numbers"
    first = column.filter(column.str.contains(_LIKE_NUMBER))[0]
    text = f"column {column.name!r} seems to hold numbers ({first!r}) {how}: until then its values are words"
    return [Finding("number_like_words", "warn", text)]
