from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from torchkiln.data.facts import as_dates, columns, gather, text_column
from torchkiln.data.source import Finding, Source


def test_what_columns_hold() -> None:
    n = 40
    frame = pl.DataFrame(
        {
            "key": [str(i) for i in range(n)],
            "split": [None] * n,
            "whole": list(range(n)),
            "float": [i + 0.5 for i in range(n)],
            "floats that are whole": [float(i % 3) for i in range(n)],
            "words": ["a", None] * (n // 2),
            "text": [f"some words of text {i}" for i in range(n)],
            "repeated text": ["the same words every time"] * n,
            "day": [f"2020-01-{i % 28 + 1:02}" for i in range(n)],
            "typed day": [date(2020, 1, i % 28 + 1) for i in range(n)],
            "bytes": [b"x"] * n,
        },
        schema_overrides={"split": pl.String},
    )
    found = {c.name: c for c in columns(frame)}
    assert {name: c.holds for name, c in found.items()} == {
        "whole": "number",
        "float": "number",
        "floats that are whole": "number",
        "words": "words",
        "text": "text",
        "repeated text": "words",
        "day": "date",
        "typed day": "date",
        "bytes": "pictures",
    }
    assert [found[c].whole for c in ("whole", "float", "floats that are whole")] == [True, False, True]
    assert (found["words"].distinct, found["words"].missing, found["words"].rows) == (1, 20, 40)
    assert text_column(frame, None) == "text"


def test_gather_knows_splits_and_the_column_that_the_test_lacks() -> None:
    frame = pl.DataFrame({"key": ["1", "2"], "split": ["val", "train"], "a": [1, 2], "y": ["x", "z"]})
    finding = Finding("part_without_target", "warn", "", ["y"])
    facts = gather(Source("table", frame, Path("."), "", [finding]), "here")
    assert (facts.path, facts.kind, list(facts.splits), facts.without, facts.rows) == (
        "here", "table", ["train", "val"], "y", 2,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "first"),
    [
        (["2020-01-02", None], "2020-01-02 00:00:00"),
        (["2020-01-02 10:30:00", "2020-01-03"], "2020-01-02 10:30:00"),
        (["31.12.2020", "01.02.2021"], "2020-12-31 00:00:00"),
        (["12/31/2020", "01/02/2021"], "2020-12-31 00:00:00"),
    ],
)
def test_dates(values: list[str | None], first: str) -> None:
    dates = as_dates(pl.Series("d", values))
    assert dates is not None
    assert str(dates[0]) == first


@pytest.mark.parametrize("values", [["2020-01-02"] * 30 + ["soon"], ["a"], [None], [1, 2]])
def test_no_dates(values: list[object]) -> None:
    assert as_dates(pl.Series("d", values)) is None
