"""Columns that give the target away: what knows the answer will not be there when it is asked for."""

from __future__ import annotations

import polars as pl

from torchkiln.data.source import Finding

_MOST = 100_000
"""Training rows that are looked at, spread over all."""
_ROWS = 10
"""Rows that a value must have, on average, to be looked at by itself; other numbers go by their order."""
_SURE = 0.99
"""Share of what there is to know of the target that one column tells, from which it is a leak."""


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
        told = _told(column, sample[target], classification)
        if told >= _SURE:
            text = (
                f"column {column.name!r} alone tells {told:.1%} of what there is to tell of {target!r}; if "
                f"it will not be known beforehand, leave it out: data.columns: {{{column.name}: drop}}"
            )
            findings.append(Finding("target_leak", "warn", text, [column.name]))
    return findings


def _told(column: pl.Series, target: pl.Series, classification: bool) -> float:
    """Share of what there is to know of the target that the column tells: 0 nothing, 1 all."""
    if column.dtype.is_nested() or column.dtype == pl.Binary or column.n_unique() < 2:
        return 0.0
    pairs = pl.DataFrame({"group": column, "target": target})
    if column.n_unique() <= len(column) / _ROWS:
        return _classes_told(pairs) if classification else _numbers_told(pairs)
    if not column.dtype.is_numeric():
        return 0.0
    return _classes_in_order(pairs.drop_nulls()) if classification else _numbers_in_order(pairs.drop_nulls())


def _classes_in_order(pairs: pl.DataFrame) -> float:
    """How few changes of class are met along the sorted column, beside those of a shuffled one."""
    ordered = pairs.sort("group", "target")["target"]
    changes = int((ordered != ordered.shift(1)).fill_null(False).sum())
    shares = ordered.value_counts()["count"] / len(ordered)
    by_chance = len(ordered) * (1 - float((shares**2).sum()))
    return 1 - (changes - ordered.n_unique() + 1) / by_chance if by_chance > _ROWS else 0.0


def _numbers_in_order(pairs: pl.DataFrame) -> float:
    """How well the order of the column is that of the target, or its reverse."""
    correlation = pairs.select(pl.corr("group", "target", method="spearman")).item()
    return float(correlation) ** 2 if len(pairs) > _ROWS and correlation is not None else 0.0


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
