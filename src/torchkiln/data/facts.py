"""Facts about a source: what its columns hold, which is text, which are dates."""

from __future__ import annotations

import polars as pl

from torchkiln.codec.table import read_dates
from torchkiln.codec.table_fit import date_formats
from torchkiln.data.columns import TEXT_WORDS, mean_words
from torchkiln.data.source import SPLITS, Source
from torchkiln.recipe.propose import Column, Facts, find_text


def gather(source: Source, path: str) -> Facts:
    """What a recipe is proposed from.

    Args:
        source: As read, splits assigned or not.
        path: As the person wrote it.
    """
    present = set(source.frame["split"].drop_nulls().unique())
    without = next((f.samples[0] for f in source.findings if f.code == "part_without_target"), None)
    return Facts(
        path=path,
        kind=source.kind,
        columns=columns(source.frame, pictures=source.kind == "images"),
        splits=[s for s in SPLITS if s in present],
        without=without,
    )


def columns(frame: pl.DataFrame, pictures: bool = False) -> list[Column]:
    """What each of the person's own columns holds; `pictures`: whether `image` is one of pictures."""
    own = [c for c in frame.get_columns() if c.name not in ("key", "split")]
    return [_column(c, pictures and c.name == "image") for c in own]


def text_column(frame: pl.DataFrame, target: str | None) -> str | None:
    """The name of the column that most looks like text."""
    found = find_text(columns(frame), target)
    return found.name if found else None


def as_dates(values: pl.Series) -> pl.Series | None:
    """The column as points in time, null where it is empty; None where it holds no dates."""
    formats = date_formats(values)
    return None if formats is None else read_dates(values, formats)[0]


def _column(values: pl.Series, picture: bool) -> Column:
    name, rows = values.name, len(values)
    if picture or values.dtype == pl.Binary:
        return Column(name, "pictures", rows, values.null_count(), rows)
    distinct = values.drop_nulls().n_unique()
    missing = values.null_count()
    if values.dtype.is_numeric():
        whole = values.dtype.is_integer() or bool((values.drop_nulls() % 1 == 0).all())
        return Column(name, "number", distinct, missing, rows, whole=whole)
    if as_dates(values) is not None:
        return Column(name, "date", distinct, missing, rows)
    words = mean_words(values) if values.dtype == pl.String else 0.0
    running = words >= TEXT_WORDS and distinct > 0.5 * (rows - missing)
    return Column(name, "text" if running else "words", distinct, missing, rows, words=words)
