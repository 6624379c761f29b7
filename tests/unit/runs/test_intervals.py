from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from torchkiln.runs.intervals import MEASURES, Difference, from_intervals, paired

RANDOM = np.random.default_rng(0)
CLASSES = 4
LABELS = RANDOM.integers(0, CLASSES, 300)
NUMBERS = RANDOM.normal(50.0, 10.0, 300)


def probabilities(skill: float, seed: int, labels: np.ndarray = LABELS) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(size=(len(labels), CLASSES))
    logits[np.arange(len(labels)), labels] += skill
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def numbers(noise: float, seed: int) -> np.ndarray:
    return NUMBERS + np.random.default_rng(seed).normal(0.0, noise, len(NUMBERS))


REFERENCES = {
    "accuracy": lambda t, p: reference.accuracy_score(t, p.argmax(1)),
    "balanced_accuracy": lambda t, p: reference.balanced_accuracy_score(t, p.argmax(1)),
    "macro_f1": lambda t, p: reference.f1_score(t, p.argmax(1), average="macro"),
    "log_loss": lambda t, p: reference.log_loss(t, p),
    "rmse": lambda t, p: reference.root_mean_squared_error(t, p),
    "mae": lambda t, p: reference.mean_absolute_error(t, p),
    "r2": lambda t, p: reference.r2_score(t, p),
}


@pytest.mark.parametrize("name", MEASURES)
def test_the_difference_is_that_of_scikit_learn(name: str) -> None:
    regression = name in ("rmse", "mae", "r2")
    target = NUMBERS if regression else LABELS
    a, b = (numbers(2, 1), numbers(3, 2)) if regression else (probabilities(2, 1), probabilities(1, 2))
    gap = paired(MEASURES[name], target, a, b, draws=200)
    assert gap.value == pytest.approx(REFERENCES[name](target, a) - REFERENCES[name](target, b), abs=1e-9)
    assert gap.low < gap.value < gap.high


@pytest.mark.parametrize("name", MEASURES)
def test_means_over_drawn_rows_give_the_metric_of_those_rows(name: str) -> None:
    regression = name in ("rmse", "mae", "r2")
    target, prediction = (NUMBERS, numbers(4, 1)) if regression else (LABELS, probabilities(1, 1))
    drawn = np.random.default_rng(3).integers(0, 300, 40)
    means = MEASURES[name].columns(target, prediction)[drawn].mean(axis=0)
    expected = REFERENCES[name](target[drawn], prediction[drawn])
    assert MEASURES[name].combine(means) == pytest.approx(expected, abs=1e-9)


def test_a_clear_difference_is_clear_and_equal_predictions_are_not() -> None:
    strong, weak = probabilities(4, 1), probabilities(0, 2)
    assert paired(MEASURES["accuracy"], LABELS, strong, weak).is_clear
    same = paired(MEASURES["accuracy"], LABELS, strong, strong)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert not same.is_clear


def test_pairing_sees_what_two_intervals_cannot() -> None:
    """Two runs that fail on the same rows: each is unsure, their difference is not."""
    a = numbers(10, 1)
    b = NUMBERS + (a - NUMBERS) * 1.05
    gap = paired(MEASURES["rmse"], NUMBERS, a, b)
    alone = [paired(MEASURES["rmse"], NUMBERS, x, NUMBERS) for x in (a, b)]
    apart = from_intervals(*((x.value, x.low, x.high) for x in alone))
    assert gap.is_clear
    assert not apart.is_clear


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """200 samples of 200 rows; the true difference of accuracies is 0.1."""
    generator = np.random.default_rng(5)
    inside = 0
    for _ in range(200):
        target = np.zeros(200, np.int64)
        right = [(generator.random(200) < skill).astype(float) for skill in (0.8, 0.7)]
        a, b = (np.stack([each, 1 - each], axis=1) for each in right)
        gap = paired(MEASURES["accuracy"], target, a, b, draws=400)
        inside += gap.low <= 0.1 <= gap.high
    assert 0.90 <= inside / 200 <= 0.99


def test_the_same_runs_give_the_same_interval() -> None:
    a, b = probabilities(2, 1), probabilities(1, 2)
    assert paired(MEASURES["macro_f1"], LABELS, a, b) == paired(MEASURES["macro_f1"], LABELS, a, b)


def test_draws_are_the_same_however_many_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = numbers(2, 1), numbers(3, 2)
    whole = paired(MEASURES["rmse"], NUMBERS, a, b, draws=100)
    monkeypatch.setattr("torchkiln.runs.intervals._CELLS", 7 * len(NUMBERS))
    pieces = paired(MEASURES["rmse"], NUMBERS, a, b, draws=100)
    assert pieces.low == pytest.approx(whole.low, abs=1e-12)
    assert pieces.high == pytest.approx(whole.high, abs=1e-12)


def test_two_intervals_combine_by_squares() -> None:
    gap = from_intervals((0.9, 0.87, 0.93), (0.8, 0.76, 0.84))
    assert gap.value == pytest.approx(0.1)
    assert (gap.low, gap.high) == (pytest.approx(0.05), pytest.approx(0.15))
    assert Difference(-0.1, -0.2, -0.05).is_clear
