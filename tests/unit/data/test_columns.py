from __future__ import annotations

import polars as pl
import pytest

from torchkiln.data.columns import mean_words, typed


def one(values: list[str | None]) -> tuple[pl.Series, list[str]]:
    frame, findings = typed(pl.DataFrame({"x": values}, schema={"x": pl.String}))
    return frame["x"], [f.code for f in findings]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (["1", " 2", "-3"], pl.Int64),
        (["1", "2.5", "1e3"], pl.Float64),
        (["1.0", "2.0"], pl.Float64),
        (["a", "b"], pl.String),
        (["true", "False"], pl.String),
        (["2020-01-01", "2020-01-02"], pl.String),
        (["00501", "10001"], pl.String),
        (["12345678901234567890", "1"], pl.String),
        ([None, ""], pl.String),
    ],
)
def test_types(values: list[str | None], dtype: pl.DataType) -> None:
    assert one(values)[0].dtype == dtype


def test_large_whole_numbers_keep_every_digit() -> None:
    assert one(["9007199254740993", "1"])[0].to_list() == [9007199254740993, 1]


@pytest.mark.parametrize("word", ["NA", "N/A", "null", "NaN", "?", "", " "])
def test_missing_words(word: str) -> None:
    assert one(["a", word])[0].to_list() == ["a", None]
    assert one(["1", word])[0].to_list() == [1, None]


def test_missing_words_are_said_and_empty_cells_are_not() -> None:
    assert one(["a", "?"])[1] == ["missing_words"]
    assert one(["a", "", None])[1] == []


def test_a_dash_is_missing_among_numbers_only() -> None:
    numbers, said = one(["1", "2", "3", "4", "5", "-"])
    assert numbers.to_list() == [1, 2, 3, 4, 5, None]
    assert said == ["missing_words"]
    assert one(["a", "-"])[0].to_list() == ["a", "-"]


def test_words_among_numbers_are_said_where_they_are_many() -> None:
    many, said = one([str(i) for i in range(20)] + ["low", "high"])
    assert many.dtype == pl.String
    assert said == ["mixed_column"]
    few, said = one([str(i) for i in range(200)] + ["low"])
    assert few.dtype == pl.String
    assert said == []  # the table's codec takes it for missing, and says so


@pytest.mark.parametrize(("value", "word"), [("1,5", "decimal comma"), ("$1,200.50", "signs"), ("12 %", "signs")])
def test_what_looks_like_numbers_is_left_alone_and_said(value: str, word: str) -> None:
    frame, findings = typed(pl.DataFrame({"x": [value, value]}))
    assert frame["x"].to_list() == [value, value]
    assert word in findings[0].text
    assert repr(value) in findings[0].text


def test_running_text_is_left_as_it_is() -> None:
    text = " NA is what the form says here "
    frame, _ = typed(pl.DataFrame({"t": [text, "NA"], "label": ["a", " b"]}))
    assert frame.rows() == [(text, "a"), ("NA", "b")]


def test_a_column_said_to_be_text_is_left_as_it_is() -> None:
    frame, _ = typed(pl.DataFrame({"t": ["7", "NA", ""]}), text=["t"])
    assert frame["t"].to_list() == ["7", "NA", None]


def test_mean_words() -> None:
    assert mean_words(pl.Series(["a b c", None, "a"])) == 2.0
    assert mean_words(pl.Series([None], dtype=pl.String)) == 0.0
