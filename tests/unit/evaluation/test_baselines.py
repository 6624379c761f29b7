"""What stands beside a score is fitted on the training rows alone, and is no straw man."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from torchkiln.codec import table_fit
from torchkiln.codec.base import Codec
from torchkiln.codec.image import ImageCodec
from torchkiln.codec.target import Labels, Number
from torchkiln.evaluation import baselines

TEXT_INPUTS: Any = object()
"""The text baseline takes nothing from the codec of inputs."""


def _table(n: int, seed: int, classes: bool) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    number, town = rng.normal(size=n), rng.choice(["Aa", "Bb", "Cc"], n)
    signal = number + 2.0 * (town == "Bb") - 3.0 * np.isnan(np.where(number > 1, np.nan, number))
    gaps = np.where(number > 1, np.nan, number)
    frame = pl.DataFrame({"key": [str(i) for i in range(n)], "split": "train", "number": gaps, "town": town})
    return frame.with_columns(y=pl.Series(np.where(signal > 0, "yes", "no") if classes else signal))


def _fitted(train: pl.DataFrame, classes: bool) -> tuple[Codec, np.ndarray]:
    target = Labels.fit(train["y"]) if classes else Number.fit(train["y"])
    encoded = target.encode(train["y"])
    inputs, _ = table_fit.fit(train, encoded, classes=classes, exclude=["key", "split", "y"])
    return Codec(inputs, target), encoded


def test_the_trivial_guess_is_the_shares_or_the_mean_of_the_training_rows() -> None:
    guess = baselines.trivial(np.array([0, 2, 2, 2]), 5, 4)
    np.testing.assert_allclose(guess.prediction, [[0.25, 0, 0.75, 0]] * 5)
    assert (guess.name, guess.prediction.dtype) == ("majority class", np.float32)
    mean = baselines.trivial(np.array([1.0, 2.0, 6.0], np.float32), 2, None)
    assert (mean.name, mean.prediction.tolist()) == ("mean", [3.0, 3.0])


def test_boosting_learns_from_numbers_names_and_gaps() -> None:
    train, test = _table(600, 0, True), _table(300, 1, True)
    codec, encoded = _fitted(train, True)
    found = baselines.classical(train, encoded, test, codec, None, seed=0)
    assert found is not None
    assert found.name == "HistGradientBoosting"
    assert found.notes == []
    assert found.prediction.shape == (300, 2)
    truth = codec.target.encode(test["y"])
    assert np.mean(found.prediction.argmax(axis=1) == truth) > 0.95
    again = baselines.classical(train, encoded, test, codec, None, seed=0)
    assert again is not None
    np.testing.assert_array_equal(found.prediction, again.prediction)


def test_boosting_predicts_numbers_in_their_own_unit() -> None:
    train, test = _table(600, 0, False), _table(300, 1, False)
    codec, encoded = _fitted(train, False)
    found = baselines.classical(train, encoded, test, codec, None, seed=0)
    assert found is not None
    truth = test["y"].to_numpy()
    assert np.sqrt(np.mean((found.prediction - truth) ** 2)) < 0.2 * truth.std()


def test_a_column_of_many_names_and_dates_go_in() -> None:
    rng = np.random.default_rng(0)
    names = [f"n{i}" for i in rng.integers(0, 400, 2_000)]
    days = pl.Series("day", rng.integers(0, 900, 2_000)).cast(pl.Date)
    train = pl.DataFrame({"name": names, "day": days, "y": (days.dt.month() > 6).cast(pl.String)})
    codec, encoded = _fitted(train, True)
    test = train.head(50).with_columns(name=pl.lit("never seen"))
    found = baselines.classical(train, encoded, test, codec, None, seed=0)
    assert found is not None
    assert np.mean(found.prediction.argmax(axis=1) == encoded[:50]) > 0.95


def test_a_class_that_the_drawn_rows_do_not_hold_gets_no_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    train = _table(400, 0, True)
    train = pl.concat([train, train.head(1).with_columns(y=pl.lit("aardvark"))])
    codec, encoded = _fitted(train, True)
    monkeypatch.setattr(baselines, "_MOST_ROWS", 100)
    found = baselines.classical(train, encoded, _table(20, 1, True), codec, None, seed=0)
    assert found is not None
    assert found.prediction.shape == (20, 3)
    assert (found.prediction[:, 0] == 0).all()
    assert found.notes == ["HistGradientBoosting was fitted on 100 of 401 training rows."]


def test_words_and_characters_tell_texts_apart() -> None:
    rng = np.random.default_rng(0)
    good, bad = ["lovely", "grand", "moving"], ["dull", "tedious", "flat"]
    label = rng.integers(0, 2, 300)
    texts = [f"a {rng.choice(good if one else bad)} film, nr {rng.integers(99)}" for one in label]
    train = pl.DataFrame({"said": [*texts, None]})
    codec = Codec(TEXT_INPUTS, Labels("y", ["bad", "good"]))
    test = pl.DataFrame({"said": ["quite dull.", "how moving!", "lovelier", None]})
    found = baselines.classical(train, np.append(label, 0), test, codec, "said", seed=0)
    assert found is not None
    assert found.name == "TF-IDF + logistic regression"
    assert found.prediction[:3].argmax(axis=1).tolist() == [0, 1, 1]
    np.testing.assert_allclose(found.prediction.sum(axis=1), 1.0, rtol=1e-5)


def _picture(value: int, side: int) -> bytes:
    held = io.BytesIO()
    Image.new("L", (side, side), value).save(held, "PNG")
    return held.getvalue()


def test_small_pictures_are_told_apart_by_their_pixels_and_large_ones_are_left_alone() -> None:
    label = np.arange(60) % 2
    frame = pl.DataFrame(
        {"key": [str(i) for i in range(60)], "image": [_picture(60 + 120 * int(v), 20) for v in label]}
    )
    target = Labels("label", ["dark", "light"])
    found = baselines.classical(frame, label, frame, Codec(ImageCodec("image", 20), target), None, seed=0)
    assert found is not None
    assert found.name == "logistic regression on 16 x 16 pixels"
    assert (found.prediction.argmax(axis=1) == label).all()
    large = Codec(ImageCodec("image", 224), target)
    assert baselines.classical(frame, label, frame, large, None, seed=0) is None


DATA = os.environ.get("TORCHKILN_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="TORCHKILN_DATA names no folder of data sets")


def _hits(train: pl.DataFrame, test: pl.DataFrame, text: str | None) -> float:
    """Accuracy of the classical model on real data whose label is the column `y`."""
    if text is None:
        codec, encoded = _fitted(train, True)
    else:
        codec = Codec(TEXT_INPUTS, Labels.fit(train["y"]))
        encoded = codec.target.encode(train["y"])
    found = baselines.classical(train, encoded, test, codec, text, seed=0)
    assert found is not None
    return float(np.mean(found.prediction.argmax(axis=1) == codec.target.encode(test["y"])))


@needs_data
def test_boosting_is_as_good_as_published_on_adult() -> None:
    train, test = (pl.read_csv(Path(DATA or "", "adult", f"{s}.csv"), null_values="?") for s in ("train", "test"))
    label = train.columns[-1]
    assert _hits(train.rename({label: "y"}), test.rename({label: "y"}), None) > 0.867


@needs_data
@pytest.mark.slow
def test_text_is_as_good_as_published_on_sst2() -> None:
    train, test = (
        pl.read_csv(Path(DATA or "", "sst2", f"{s}.tsv"), separator="\t", quote_char=None) for s in ("train", "test")
    )
    assert _hits(train.rename({"label": "y"}), test.rename({"label": "y"}), "sentence") > 0.815


@needs_data
@pytest.mark.slow
def test_text_is_as_good_as_published_on_banking77() -> None:
    train, test = (pl.read_csv(Path(DATA or "", "banking77", f"{s}.csv")) for s in ("train", "test"))
    assert _hits(train.rename({"category": "y"}), test.rename({"category": "y"}), "text") > 0.895
