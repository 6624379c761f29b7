"""The encoding of cells: the same alone as among many, and never a guess in silence."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from torchkiln.codec import table_fit
from torchkiln.codec.base import Codec
from torchkiln.codec.table import (
    ISO_FORMATS,
    CategoryField,
    NumberField,
    PresenceField,
    Scaling,
    TableCodec,
    date_part,
    read_dates,
    read_names,
    read_numbers,
)
from torchkiln.codec.target import Labels
from torchkiln.errors import DataError


def frame(rows: int = 240) -> pl.DataFrame:
    """Numbers (one skewed, one with gaps), names, a flag, a date, and a target that follows them."""
    rng = np.random.default_rng(0)
    age = rng.normal(40, 12, rows)
    gain = np.where(rng.random(rows) < 0.9, 0, rng.lognormal(8, 1, rows))
    start = dt.date(2020, 1, 1)
    return pl.DataFrame(
        {
            "key": [f"t.csv#{i}" for i in range(rows)],
            "age": age,
            "gain": gain,
            "height": [None if i % 7 == 0 else float(i % 50) for i in range(rows)],
            "lat": rng.uniform(45, 55, rows),
            "lon": [None if i % 11 == 0 else 8 + i % 5 for i in range(rows)],
            "town": [["Ulm", "Bonn", "Kiel", None][i % 4] for i in range(rows)],
            "member": [i % 3 == 0 for i in range(rows)],
            "since": [start + dt.timedelta(days=5 * i) for i in range(rows)],
            "target": (age + gain > 45).astype(np.int64),
        }
    )


@pytest.fixture(scope="module")
def codec() -> TableCodec:
    data = frame()
    fitted, _ = table_fit.fit(data, data["target"].to_numpy(), classes=True, exclude=["key", "target"])
    return fitted


def test_a_row_alone_is_encoded_as_among_many(codec: TableCodec) -> None:
    data = frame()
    together = codec.encode(data)
    alone = [codec.encode(data[i]) for i in range(len(data))]
    for name in ("numeric", "categorical"):
        np.testing.assert_array_equal(np.concatenate([a[name] for a in alone]), together[name])


def test_arrays_have_the_types_and_widths_that_are_said(codec: TableCodec) -> None:
    arrays = codec.encode(frame())
    numeric, categorical = arrays["numeric"], arrays["categorical"]
    assert isinstance(numeric, np.ndarray)
    assert isinstance(categorical, np.ndarray)
    assert numeric.dtype == np.float32
    assert categorical.dtype == np.int64
    assert numeric.shape[1] == len(codec.edges) + codec.indicators
    assert categorical.shape[1] == len(codec.cardinalities)
    assert (categorical < np.array(codec.cardinalities)).all()
    indicators = numeric[:, len(codec.edges) :]
    assert set(np.unique(indicators)) <= {0.0, 1.0}
    assert indicators[:, 0].sum() == frame()["height"].null_count()


def test_state_comes_back_from_json_the_same(codec: TableCodec, tmp_path: Path) -> None:
    both = Codec(codec, Labels("target", ["0", "1"]))
    back = Codec.from_state(json.loads(json.dumps(both.state(tmp_path))), tmp_path)
    assert back == both
    for name, array in codec.encode(frame()).items():
        np.testing.assert_array_equal(back.inputs.encode(frame())[name], array)


def test_a_word_among_numbers_is_refused_by_column_row_and_value(codec: TableCodec) -> None:
    bad = frame(3).with_columns(pl.Series("age", ["31", "abc", "22"]))
    with pytest.raises(DataError, match=r"column 'age', row 't\.csv#1': 'abc' is no number"):
        codec.encode(bad)


def test_a_word_among_dates_is_refused_with_an_example(codec: TableCodec) -> None:
    bad = frame(2).with_columns(pl.Series("since", ["2020-01-05", "soon"]))
    with pytest.raises(DataError, match=r"column 'since', row .*'soon' is no date; .*%Y-%m-%d"):
        codec.encode(bad)


def test_a_column_that_is_gone_is_named_with_the_nearest(codec: TableCodec) -> None:
    with pytest.raises(DataError, match=r"column 'height', .* is not in the table; is it 'heigth'\?"):
        codec.encode(frame(2).rename({"height": "heigth"}))


def test_a_gap_in_a_column_complete_in_training_takes_the_median(codec: TableCodec) -> None:
    gap = frame(1).with_columns(pl.lit(None, pl.Float64).alias("age"))
    median = frame(1).with_columns(pl.lit(float(frame()["age"].median() or 0)).alias("age"))
    np.testing.assert_array_equal(codec.encode(gap)["numeric"], codec.encode(median)["numeric"])


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_what_is_not_finite_is_missing(codec: TableCodec, value: float) -> None:
    odd = codec.encode(frame(1).with_columns(pl.lit(value).alias("height")))["numeric"]
    gap = codec.encode(frame(1).with_columns(pl.lit(None, pl.Float64).alias("height")))["numeric"]
    np.testing.assert_array_equal(odd, gap)


def test_far_outside_training_is_held_near_its_range(codec: TableCodec) -> None:
    numeric = codec.encode(frame(1).with_columns(pl.lit(1e30).alias("age")))["numeric"]
    assert isinstance(numeric, np.ndarray)
    assert numeric[0, 0] == np.float32(codec.edges[0][-1] + 1.0)


def test_unseen_names_have_code_zero_and_missing_ones_their_own(codec: TableCodec) -> None:
    town = next(f for f in codec.fields if f.column == "town")
    assert isinstance(town, CategoryField)
    rows = frame(3).with_columns(pl.Series("town", ["Paris", None, "Bonn"]))
    codes = codec.encode(rows)["categorical"]
    assert isinstance(codes, np.ndarray)
    assert codes[:, 0].tolist() == [0, town.codes - 1, 1]


def test_cells_of_another_type_that_mean_the_same_are_the_same(codec: TableCodec) -> None:
    data = frame(30)
    as_words = data.with_columns(
        pl.col("age").cast(pl.String),
        pl.Series("member", [str(m) for m in data["member"]]),  # True, as Python writes it
        pl.col("since").dt.strftime("%Y-%m-%d"),
        pl.col("gain").cast(pl.Float64),
    )
    for name, array in codec.encode(data).items():
        np.testing.assert_array_equal(codec.encode(as_words)[name], array)


def test_no_rows_give_empty_arrays(codec: TableCodec) -> None:
    numeric = codec.encode(frame(1).clear())["numeric"]
    assert isinstance(numeric, np.ndarray)
    assert numeric.shape == (0, len(codec.edges) + codec.indicators)


def test_presence_says_only_whether_a_cell_is_filled() -> None:
    fields = [PresenceField("cabin"), NumberField("x", Scaling(False, 0.0, 0.0, 1.0, [-1.0, 1.0]), False, [])]
    data = pl.DataFrame({"cabin": ["C85", None, " "], "x": [0.5, 0.0, -0.5]})
    np.testing.assert_array_equal(TableCodec(fields).encode(data)["numeric"], [[0.5, 0], [0, 1], [-0.5, 1]])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pl.Series([1.0, 2.5, None]), ["1", "2.5", None]),
        (pl.Series([1, 2, None]), ["1", "2", None]),
        (pl.Series([" 1", "True", ""]), ["1", "true", None]),
        (pl.Series([True, False, None]), ["true", "false", None]),
        (pl.Series([float("nan"), 3.0]), [None, "3"]),
        (pl.Series(["a", "b"], dtype=pl.Categorical), ["a", "b"]),
    ],
)
def test_names(values: pl.Series, expected: list[str | None]) -> None:
    assert read_names(values).to_list() == expected


@pytest.mark.parametrize(
    ("values", "expected", "bad"),
    [
        (pl.Series(["1", " 2.5 ", "1e3", "NA", None]), [1, 2.5, 1000, np.nan, np.nan], []),
        (pl.Series(["1", "two"]), [1, np.nan], [1]),
        (pl.Series([True, False]), [1, 0], []),
        (pl.Series([dt.timedelta(seconds=90)]), [90], []),
        (pl.Series([dt.time(0, 1)]), [60], []),
        (pl.Series([dt.date(2020, 1, 1)]), [np.nan], [0]),
        (pl.Series([None, None]), [np.nan, np.nan], []),
    ],
)
def test_numbers(values: pl.Series, expected: list[float], bad: list[int]) -> None:
    numbers, wrong = read_numbers(values)
    np.testing.assert_array_equal(numbers, np.array(expected, float))
    assert np.flatnonzero(wrong).tolist() == bad


def test_dates_in_several_ways_and_their_parts() -> None:
    words = pl.Series("d", ["2024-02-29", "2024-02-29 18:30:00", "2024-02-29T18:30:00Z", "", None])
    dates, bad = read_dates(words, ISO_FORMATS)
    assert not bad.any()
    assert dates.null_count() == 2
    np.testing.assert_array_equal(date_part(dates, "hour"), [0, 18.5, 18.5, np.nan, np.nan])
    np.testing.assert_array_equal(date_part(dates, "weekday")[:3], [4, 4, 4])
    np.testing.assert_allclose(date_part(dates, "days")[:1], (dt.date(2024, 2, 29) - dt.date(1970, 1, 1)).days)
