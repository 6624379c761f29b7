"""Worst slices: found where they are, with intervals that many looks do not fool."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from torchkiln.codec import table_fit
from torchkiln.codec.image import ImageCodec
from torchkiln.codec.table import TableCodec
from torchkiln.codec.target import Labels, Number
from torchkiln.evaluation import slices

LABELS = Labels("y", ["no", "yes"])


def _frame(n: int = 800) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    number = np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n))
    return pl.DataFrame(
        {
            "key": [str(i) for i in range(n)],
            "number": number,
            "town": rng.choice(["Aa", "Bb", "Cc", "Dd"], n, p=[0.4, 0.3, 0.29, 0.01]),
            "day": pl.Series(rng.integers(0, 900, n)).cast(pl.Date),
        }
    )


def _codec(frame: pl.DataFrame) -> TableCodec:
    rng = np.random.default_rng(1)
    return table_fit.fit(frame, rng.integers(0, 2, len(frame)), classes=True, exclude=["key"])[0]


def _right(hits: np.ndarray) -> np.ndarray:
    """Probabilities that are right where `hits` says so, for a target of all 0."""
    return np.eye(2, dtype=np.float32)[(~hits).astype(int)]


def test_the_planted_slice_is_first_and_its_interval_shuts_out_the_whole() -> None:
    frame = _frame()
    rng = np.random.default_rng(2)
    in_town = (frame["town"] == "Bb").to_numpy()
    hits = rng.random(800) < np.where(in_town, 0.6, 0.95)
    found, note = slices.worst(frame, np.zeros(800, int), _right(hits), _codec(frame), LABELS, None, "accuracy")
    first = found[0]
    assert (first["column"], first["value"], first["n"]) == ("town", "Bb", in_town.sum())
    assert first["score"] == pytest.approx(hits[in_town].mean())
    assert first["low"] < first["score"] < first["high"] < hits.mean()
    assert "slices of at least 20 rows" in note
    assert {s["column"] for s in found} == {"town", "number", "day"}


def test_without_a_bad_slice_none_shuts_out_the_whole() -> None:
    """95 % of all trials, were the intervals exact; 40 trials, at most 5 of them may fail."""
    frame = _frame()
    codec, fooled = _codec(frame), 0
    for trial in range(40):
        hits = np.random.default_rng(trial).random(800) < 0.8
        found, _ = slices.worst(frame, np.zeros(800, int), _right(hits), codec, LABELS, None, "accuracy")
        fooled += any(s["high"] < 0.8 or s["low"] > 0.8 for s in found)
    assert fooled <= 5


def test_few_rows_make_no_slice_and_missing_ones_make_one() -> None:
    frame = _frame()
    found, _ = slices.worst(
        frame, np.zeros(800, int), _right(np.ones(800, bool)), _codec(frame), LABELS, None, "accuracy"
    )
    by_column = {(s["column"], s["value"]): s["n"] for s in found}
    assert ("town", "Dd") not in by_column
    assert by_column["number", "missing"] == np.isnan(frame["number"].to_numpy()).sum()
    quarters = [n for (column, value), n in by_column.items() if column == "number" and " to " in value]
    assert len(quarters) == 4
    assert sum(quarters) + by_column["number", "missing"] == 800
    assert max(quarters) - min(quarters) <= 1
    assert any(value.startswith("1970-01-0") for column, value in by_column if column == "day")


@pytest.mark.parametrize(("primary", "metric"), [("rmse", "rmse"), ("mae", "mae"), ("r2", "rmse")])
def test_errors_of_numbers_are_scored_in_their_unit(primary: str, metric: str) -> None:
    frame = _frame()
    rng = np.random.default_rng(3)
    in_town = (frame["town"] == "Cc").to_numpy()
    error = rng.normal(size=800) * np.where(in_town, 3.0, 1.0)
    codec = Number("y", 0, 1, 0, 1)
    found, _ = slices.worst(frame, np.zeros(800), error, _codec(frame), codec, None, primary)
    first = found[0]
    expected = {"rmse": np.sqrt(np.mean(error[in_town] ** 2)), "mae": np.abs(error[in_town]).mean()}[metric]
    assert (first["column"], first["value"], first["metric"]) == ("town", "Cc", metric)
    assert first["score"] == pytest.approx(expected)
    assert first["low"] < first["score"] < first["high"]


def test_texts_are_parted_by_class_and_length() -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(1, 40, 400)
    frame = pl.DataFrame({"key": [str(i) for i in range(400)], "said": [" ".join(["so"] * w) for w in words]})
    target = rng.integers(0, 2, 400)
    hits = words > 10
    p = np.eye(2, dtype=np.float32)[np.where(hits, target, 1 - target)]
    found, _ = slices.worst(frame, target, p, None, LABELS, "said", "accuracy")
    assert found[0]["column"] == "words"
    assert found[0]["value"].startswith("1 to ")
    assert {s["column"] for s in found} == {"class", "words"}


def test_pictures_are_parted_by_size_where_it_differs() -> None:
    def picture(side: int) -> bytes:
        held = io.BytesIO()
        Image.new("L", (side, side + 5)).save(held, "PNG")
        return held.getvalue()

    frame = pl.DataFrame({"key": [str(i) for i in range(90)], "image": [picture(8 + i % 3) for i in range(90)]})
    target = np.arange(90) // 45
    p = np.eye(2, dtype=np.float32)[target]
    found, _ = slices.worst(frame, target, p, ImageCodec("image", 8), LABELS, None, "accuracy")
    assert {(s["column"], s["value"], s["n"]) for s in found} == {
        ("class", "no", 45), ("class", "yes", 45),
        ("shorter side", "8", 30), ("shorter side", "9", 30), ("shorter side", "10", 30),
    }  # fmt: skip
    same = frame.with_columns(image=pl.lit(picture(8)))
    found, _ = slices.worst(same, target, p, ImageCodec("image", 8), LABELS, None, "accuracy")
    assert {s["column"] for s in found} == {"class"}


def test_too_few_rows_for_any_slice() -> None:
    frame = _frame(800)
    few = frame.head(15)
    assert slices.worst(few, np.zeros(15, int), _right(np.ones(15, bool)), _codec(frame), LABELS, None, "accuracy") == (
        [],
        "",
    )
