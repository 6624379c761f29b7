"""Labels and numbers to what a loss takes, and back."""

import numpy as np
import polars as pl
import pytest

from torchkiln.codec.target import Labels, Number
from torchkiln.errors import DataError


def test_classes_are_sorted_numbers_by_size() -> None:
    assert Labels.fit(pl.Series("y", ["10", "9", "b", "a"])).classes == ["9", "10", "a", "b"]


@pytest.mark.parametrize("values", [[1, 0, 1], [1.0, 0.0, None], ["1", "0", ""], [True, False, None]])
def test_whole_floats_texts_and_booleans_are_the_same_classes(values: list[object]) -> None:
    labels = Labels.fit(pl.Series("y", values, strict=False))
    assert labels.classes in (["0", "1"], ["false", "true"])
    assert labels.encode(pl.Series("y", values[:2], strict=False)).tolist() == [1, 0]


def test_one_class_is_no_classification() -> None:
    with pytest.raises(DataError, match="only the class 'a'"):
        Labels.fit(pl.Series("y", ["a", "a", None]))


def test_a_class_never_seen_is_named_with_the_nearest() -> None:
    with pytest.raises(DataError, match="never saw the class 'kat': did you mean 'cat'"):
        Labels("y", ["cat", "dog"]).encode(pl.Series("y", ["kat"]))


def test_a_missing_label_is_refused() -> None:
    with pytest.raises(DataError, match="1 rows have no label"):
        Labels("y", ["a", "b"]).encode(pl.Series("y", ["a", None]))


def test_probabilities_become_the_persons_words() -> None:
    table = Labels("y", ["a", "b"]).decode(np.array([[0.25, 0.75], [0.9, 0.1]], np.float32))
    assert table.columns == ["prediction", "confidence", "p_a", "p_b"]
    assert table["prediction"].to_list() == ["b", "a"]
    assert table["confidence"].to_list() == pytest.approx([0.75, 0.9])


def test_numbers_keep_mean_deviation_and_range() -> None:
    number = Number.fit(pl.Series("y", [1.0, 2.0, 3.0]))
    assert (number.mean, number.low, number.high) == (2.0, 1.0, 3.0)
    assert number.scale == pytest.approx(np.std([1, 2, 3]))


@pytest.mark.parametrize(
    ("values", "said"),
    [([2.0, 2.0], "is 2 in every training row"), ([1.0, float("nan")], "no finite number"),
     (["1", "x"], "'x', which is no number")],
)  # fmt: skip
def test_what_is_no_target_is_refused(values: list[object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        Number.fit(pl.Series("y", values, strict=False))
