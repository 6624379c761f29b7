"""Columns that give the target away: what knows the answer will not be there when it is asked for."""

from __future__ import annotations

import polars as pl

from torchkiln.data.source import Finding

_MOST = 100_000
"""Training rows that are looked at, spread over all."""
_BINS = 256
"""Bins of equal counts that numbers are put into."""
_SURE = 0.99
"""Share of the uncertainty about the target that one column takes away, from which it is a leak."""


def find(train: pl.DataFrame, target: str, classification: bool) -> list[Finding]:
    """A warning for each column that alone tells the target, or nearly.

    Args:
        train: Training rows, each with a target.
        target: The target's column.
        classification: Whether it holds classes.
    """
    sample = train.gather_every(-(-len(train) // _MOST) or 1)
    findings = []
    for column in sample.drop("key", "split", target).get_columns():
        groups = _groups(column)
        if groups is None or sample.is_empty():
            continue
        pairs = pl.DataFrame({"group": groups, "target": sample[target]})
        told = _classes_told(pairs) if classification else _numbers_told(pairs)
        if told >= _SURE:
            text = (
                f"column {column.name!r} alone tells {told:.1%} of what there is to tell of {target!r}; if "
                f"it will not be known beforehand, leave it out: data.columns: {{{column.name}: drop}}"
            )
            findings.append(Finding("target_leak", "warn", text, [column.name]))
    return findings


def _groups(column: pl.Series) -> pl.Series | None:
    """Values in groups of ten rows and more, on average; None where there are too many different ones."""
    if column.dtype.is_nested() or column.dtype == pl.Binary:
        return None
    distinct, bins = column.n_unique(), min(_BINS, len(column) // 10)
    if 1 < distinct <= len(column) / 10:
        return column.cast(pl.String)
    if column.dtype.is_numeric() and min(distinct, bins) > 1:
        return (column.rank("ordinal") / len(column) * bins).ceil().cast(pl.String)
    return None


def _classes_told(pairs: pl.DataFrame) -> float:
    """Share of the errors of the most frequent class that are mended by each group's most frequent one."""
    counts = pairs.group_by("group", "target").len()
    right = int(counts.group_by("group").agg(pl.col("len").max())["len"].sum())
    usual = int(pairs["target"].value_counts()["count"].max() or 0)  # type: ignore[arg-type]
    return (right - usual) / (len(pairs) - usual) if len(pairs) > usual else 0.0


def _numbers_told(pairs: pl.DataFrame) -> float:
    """Share of the target's variance that lies between the groups."""
    pairs = pairs.with_columns(pl.col("target").cast(pl.Float64))
    within = (pairs["target"] - pairs.select(pl.col("target").mean().over("group")).to_series()).pow(2).sum()
    total = (pairs["target"] - pairs["target"].mean()).pow(2).sum()
    return 1 - float(within) / float(total) if total else 0.0
