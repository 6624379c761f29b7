"""What a column is taken for, and the word that is said where one is left out."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from torchkiln.codec import table_fit
from torchkiln.codec.table import CategoryField, DateField, NumberField, PresenceField
from torchkiln.errors import DataError

ROWS = 200
RNG = np.random.default_rng(1)
NOISE = pl.Series("noise", RNG.normal(size=ROWS))
TARGET = (NOISE.to_numpy() > 0).astype(np.int64)


def fit_one(values: pl.Series, kind: table_fit.ColumnKind | None = None, **more: object):  # type: ignore[no-untyped-def]
    data = pl.DataFrame([NOISE, values.alias("c")])
    kinds = {"c": kind} if kind else None
    codec, notes = table_fit.fit(data, TARGET, classes=True, kinds=kinds, **more)  # type: ignore[arg-type]
    found = [f for f in codec.fields if f.column == "c"]
    return (found[0] if found else None), notes


def words(*names: str | None) -> pl.Series:
    return pl.Series([names[i % len(names)] for i in range(ROWS)])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pl.Series(RNG.normal(size=ROWS)), NumberField),
        (pl.Series(RNG.integers(0, 4, ROWS)), NumberField),
        (words("3", "4.5", "-1e2"), NumberField),
        (words("a", "b", None), CategoryField),
        (pl.Series([i % 2 == 0 for i in range(ROWS)]), CategoryField),
        (words("01234", "04567", "99999"), CategoryField),
        (words("2024-01-01", "2023-05-06"), DateField),
        (words("31.12.2023", "01.02.2024"), DateField),
        (pl.Series([dt.datetime(2024, 1, 1) + dt.timedelta(hours=i) for i in range(ROWS)]), DateField),
    ],
)
def test_kinds(values: pl.Series, expected: type) -> None:
    field, notes = fit_one(values)
    assert isinstance(field, expected)
    assert notes == []


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (pl.Series([9] * ROWS), "constant_column"),
        (words("same"), "constant_column"),
        (pl.Series([None] * ROWS, dtype=pl.Float64), "empty_column"),
        (words("", " "), "empty_column"),
        (pl.Series(range(1, ROWS + 1)), "id_like_column"),
        (pl.Series([f"A{i}" for i in range(ROWS)]), "id_like_column"),
        (pl.Series([f"this is the text of row {i}" for i in range(ROWS)]), "free_text_column"),
        (pl.Series([[i] for i in range(ROWS)]), "unreadable_column"),
    ],
)
def test_left_out_with_a_word(values: pl.Series, code: str) -> None:
    field, notes = fit_one(values)
    assert field is None
    assert [n.code for n in notes] == [code]
    assert "'c'" in notes[0].text


def test_different_whole_numbers_are_no_id_unless_they_count_or_are_called_so() -> None:
    shuffled = pl.Series(RNG.permutation(np.arange(ROWS) * 1000))
    assert fit_one(shuffled)[0] is not None
    data = pl.DataFrame([NOISE, shuffled.alias("customer_id")])
    codec, notes = table_fit.fit(data, TARGET, classes=True)
    assert [f.column for f in codec.fields] == ["noise"]
    assert [n.code for n in notes] == ["id_like_column"]


def test_of_a_sparse_id_it_is_kept_whether_it_is_filled_in() -> None:
    field, notes = fit_one(pl.Series([f"C{i}" if i % 3 else None for i in range(ROWS)]))
    assert field == PresenceField("c")
    assert [n.code for n in notes] == ["id_like_column"]
    assert notes[0].text.endswith("only whether it is filled in is used")


def test_a_few_words_among_numbers_mean_missing_and_are_said() -> None:
    values = pl.Series([str(i * 0.5) if i != 7 else "Unknown!" for i in range(ROWS)])
    field, notes = fit_one(values)
    assert isinstance(field, NumberField)
    assert field.words == ["unknown!"]
    assert field.indicator
    assert "'unknown!'" in notes[0].text


def test_infinite_numbers_are_missing_and_are_said() -> None:
    values = NOISE.clone().scatter([3, 4], [float("inf"), float("-inf")])
    field, notes = fit_one(values)
    assert isinstance(field, NumberField)
    assert np.isfinite([field.scaling.mean, field.scaling.scale, *field.scaling.edges]).all()
    assert [n.code for n in notes] == ["infinite_values"]
    assert "2 infinite" in notes[0].text


@pytest.mark.parametrize(("kind", "expected"), [("categorical", CategoryField), ("numeric", NumberField)])
def test_the_person_says_what_a_column_is(kind: table_fit.ColumnKind, expected: type) -> None:
    assert isinstance(fit_one(pl.Series(RNG.integers(0, 4, ROWS)), kind)[0], expected)


def test_the_person_leaves_a_column_out() -> None:
    assert fit_one(words("a", "b"), "drop") == (None, [])


@pytest.mark.parametrize(
    ("kind", "message"),
    [("numeric", "said to be numeric, but holds 'a'"), ("date", "said to be a date, but 'a' is written")],
)
def test_a_column_that_is_not_what_it_is_said_to_be(kind: table_fit.ColumnKind, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_one(words("a", "b"), kind)


def test_a_column_of_the_recipe_that_is_not_there_is_named_with_the_nearest() -> None:
    data = pl.DataFrame([NOISE, NOISE.alias("Age")])
    with pytest.raises(DataError, match=r"data\.columns: the table has no column 'Agee': did you mean 'Age'"):
        table_fit.fit(data, TARGET, classes=True, kinds={"Agee": "numeric"})


def test_nothing_left_says_why() -> None:
    data = pl.DataFrame({"a": [1] * ROWS, "b": ["x"] * ROWS})
    with pytest.raises(DataError, match=r"no column is left to learn from: .*'a' .*'b'"):
        table_fit.fit(data, TARGET, classes=True)


def test_rare_names_share_the_code_of_the_unknown() -> None:
    field, _ = fit_one(pl.Series(["once" if i == 0 else "ab"[i % 2] for i in range(ROWS)]))
    assert isinstance(field, CategoryField)
    assert field.names == ["a", "b"]


def test_of_the_column_that_orders_the_split_only_what_comes_again_is_used() -> None:
    days = pl.Series([dt.date(2020, 1, 1) + dt.timedelta(days=4 * i) for i in range(ROWS)])
    field, _ = fit_one(days, ordered_by="c")
    assert isinstance(field, DateField)
    assert set(field.parts) == {"month", "day", "weekday"}
    counted, notes = fit_one(pl.Series(RNG.integers(0, 99, ROWS)), ordered_by="c")
    assert counted is None
    assert [n.code for n in notes] == ["order_column"]


def test_bins_follow_the_target() -> None:
    x = pl.Series(np.linspace(0, 1, ROWS))
    step = (x.to_numpy() > 0.9).astype(np.int64)
    codec, _ = table_fit.fit(pl.DataFrame([x.alias("c")]), step, classes=True)
    field = codec.fields[0]
    assert isinstance(field, NumberField)
    inner = np.array(field.scaling.edges[1:-1]) * field.scaling.scale + field.scaling.mean
    assert np.abs(inner - 0.9).min() < 0.01
    numbers, _ = table_fit.fit(pl.DataFrame([x.alias("c")]), step.astype(np.float32), classes=False)
    assert len(numbers.edges[0]) >= 3


def test_skewed_numbers_are_taken_by_logarithm() -> None:
    values = RNG.lognormal(0, 2, ROWS)
    skewed, _ = fit_one(pl.Series(values))
    even, _ = fit_one(pl.Series(values - 1000))
    assert isinstance(skewed, NumberField)
    assert isinstance(even, NumberField)
    assert skewed.scaling.log
    assert not even.scaling.log


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [("latitude", "longitude"), ("lat", "lon"), ("pickup_lat", "pickup_lng"), ("Lat (deg)", "Long (deg)")],
)
def test_a_place_is_seen_along_bearings(latitude: str, longitude: str) -> None:
    data = pl.DataFrame({latitude: RNG.uniform(32, 42, ROWS), longitude: RNG.uniform(-124, -114, ROWS)})
    along = 0.5 * data[latitude].to_numpy() + 0.75**0.5 * data[longitude].to_numpy()  # 30 degrees
    codec, _ = table_fit.fit(data, (along > -84).astype(np.int64), classes=True)
    assert [(p.latitude, p.longitude) for p in codec.places] == [(latitude, longitude)]
    numeric = codec.encode(data)["numeric"]
    assert isinstance(numeric, np.ndarray)
    assert numeric.shape[1] == len(codec.edges) == 6
    np.testing.assert_allclose(numeric[:, 2], (along - along.mean()) / along.std(), atol=1e-4)


@pytest.mark.parametrize(
    ("first", "second", "scale"),
    [("plate", "plon", 1.0), ("start_lat", "end_lon", 1.0), ("lat", "lon", 100.0), ("lat", "x", 1.0)],
)
def test_what_is_no_place_on_the_map_is_not_taken_for_one(first: str, second: str, scale: float) -> None:
    data = pl.DataFrame({first: scale * RNG.uniform(0, 90, ROWS), second: RNG.uniform(0, 90, ROWS)})
    codec, _ = table_fit.fit(data, TARGET, classes=True)
    assert codec.places == []
