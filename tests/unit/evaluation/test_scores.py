"""Intervals: equal to drawing rows by hand, the same each time, and holding the truth often enough."""

from __future__ import annotations

import math

import numpy as np
import pytest

from torchkiln import randomness
from torchkiln.evaluation import scores
from torchkiln.tasks import _metrics
from torchkiln.tasks._base import Metric

CLASSES = _metrics.classification(["a", "b", "c"])
BINARY = _metrics.classification(["a", "b"])
NUMBERS = _metrics.regression()


def _classes(seed: int, n: int, width: int, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, width, n)
    logits = rng.normal(size=(n, width)) + 1.2 * np.eye(width)[target]
    logits = np.round(logits) if ties else logits
    p = np.exp(logits)
    return target, (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


def _numbers(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.normal(50, 10, n).astype(np.float32)
    return target, (target + rng.normal(0, 5, n)).astype(np.float32)


@pytest.mark.parametrize(
    ("metrics", "data"),
    [
        (BINARY, _classes(0, 80, 2)),
        (BINARY, _classes(1, 80, 2, ties=True)),
        (CLASSES, _classes(2, 90, 3)),
        (CLASSES, _classes(3, 90, 3, ties=True)),
        (NUMBERS, _numbers(4, 60)),
    ],
)
def test_each_draw_is_the_metric_of_the_drawn_rows(metrics: list[Metric], data: tuple[np.ndarray, np.ndarray]) -> None:
    target, prediction = data
    found = scores.score(metrics, target, {"net": prediction}, seed=5, resamples=40)
    for draw in range(40):
        rows = randomness.generator(5, "bootstrap", draw).integers(0, len(target), len(target))
        for metric in metrics:
            expected = metric.score(target[rows], prediction[rows])
            assert found.draws["net"][metric.name][draw] == pytest.approx(expected, abs=1e-9), metric.name


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    target, p = _classes(0, 200, 3)
    one, again, other = (scores.score(CLASSES, target, {"net": p}, seed=s).values for s in (1, 1, 2))
    assert one == again
    assert one["net"]["accuracy"] != other["net"]["accuracy"]


def test_draws_do_not_depend_on_how_many_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    target, p = _classes(0, 100, 3)
    whole = scores.score(CLASSES, target, {"net": p}, seed=1, resamples=50)
    monkeypatch.setattr(scores, "_CELLS_A_CHUNK", 700)
    parts = scores.score(CLASSES, target, {"net": p}, seed=1, resamples=50)
    for name, draws in whole.draws["net"].items():
        np.testing.assert_allclose(parts.draws["net"][name], draws, rtol=1e-12)


def test_the_interval_of_accuracy_holds_the_truth_about_95_times_of_100() -> None:
    """Hits of a coin of 0.8, 150 a trial; percentile intervals hold it 93.4 % of the time at that size."""
    rng, held, trials = np.random.default_rng(0), 0, 400
    accuracy = BINARY[:1]
    for trial in range(trials):
        hits = rng.random(150) < 0.8
        p = np.eye(2, dtype=np.float32)[hits.astype(int)]
        found = scores.score(accuracy, np.ones(150, int), {"net": p}, seed=trial, resamples=200)
        interval = found.values["net"]["accuracy"]
        held += interval.low <= 0.8 <= interval.high
    assert 0.90 <= held / trials <= 0.975


def test_the_interval_of_rmse_holds_the_truth_about_95_times_of_100() -> None:
    rng, held, trials = np.random.default_rng(1), 0, 300
    for trial in range(trials):
        error = rng.normal(0, 3, 300)
        found = scores.score(NUMBERS[:1], np.zeros(300), {"net": error}, seed=trial, resamples=200)
        interval = found.values["net"]["rmse"]
        held += interval.low <= 3.0 <= interval.high
    assert 0.90 <= held / trials <= 0.98


def test_the_linear_stand_in_for_many_classes_agrees_with_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    target, p = _classes(7, 600, 5, ties=True)
    metrics = [m for m in _metrics.classification(list("abcde")) if m.name == "auroc"]
    exact = scores.score(metrics, target, {"net": p}, seed=0).values["net"]["auroc"]
    monkeypatch.setattr(scores, "_EXACT_AUROC_CELLS", 0)
    linear = scores.score(metrics, target, {"net": p}, seed=0).values["net"]["auroc"]
    assert linear.value == exact.value
    width = exact.high - exact.low
    assert abs(linear.low - exact.low) < 0.05 * width
    assert abs(linear.high - exact.high) < 0.05 * width


def test_a_difference_is_paired_and_has_the_sign_of_the_first_less_the_second() -> None:
    rng = np.random.default_rng(0)
    target, worse = _numbers(0, 400)
    better = (target + 0.8 * (worse - target) + rng.normal(0, 0.1, 400)).astype(np.float32)
    found = scores.score(NUMBERS, target, {"net": better, "other": worse}, seed=0)
    gap = found.difference("net", "other", "rmse")
    net, other = (found.values[name]["rmse"] for name in ("net", "other"))
    assert gap.value == pytest.approx(net.value - other.value)
    assert gap.low < gap.value < gap.high < 0
    assert gap.high - gap.low < 0.5 * (net.high - net.low), "paired draws must cancel what rows share"
    assert found.difference("other", "net", "rmse").value == pytest.approx(-gap.value)
    assert found.difference("net", "net", "rmse") == scores.Interval(0.0, 0.0, 0.0)


def test_one_class_leaves_auroc_undefined_and_says_so() -> None:
    _, p = _classes(0, 30, 2)
    found = scores.score(BINARY, np.ones(30, int), {"net": p}, seed=0)
    area = found.values["net"]["auroc"]
    assert math.isnan(area.value)
    assert area.as_json() == {"value": None, "low": None, "high": None}
    assert math.isfinite(found.values["net"]["accuracy"].low)
    assert found.notes == ["Undefined here, since classes are missing from the rows: auroc."]


def test_a_net_that_gives_nan_has_no_score_but_its_baseline_has() -> None:
    target, p = _classes(0, 50, 2)
    broken = p.copy()
    broken[3] = np.nan
    found = scores.score(BINARY, target, {"net": broken, "majority": p}, seed=0)
    assert all(math.isnan(v) for m in found.values["net"].values() for v in (m.value, m.low, m.high))
    assert math.isfinite(found.values["majority"]["accuracy"].low)
    assert math.isnan(found.difference("net", "majority", "accuracy").value)
    assert np.isnan(found.draws["net"]["accuracy"]).all()


def test_all_right_is_not_taken_for_certainty() -> None:
    target = np.arange(60) % 2
    certain = np.eye(2, dtype=np.float32)[target]
    found = scores.score(BINARY, target, {"net": certain, "wrong": certain[:, ::-1]}, seed=0)
    assert found.values["net"]["accuracy"].low == pytest.approx(0.025 ** (1 / 60))
    assert found.values["wrong"]["accuracy"].high == pytest.approx(1 - 0.025 ** (1 / 60))


def test_many_rows_are_drawn_less_often_and_it_says_so() -> None:
    found = scores.score(BINARY[:1], np.zeros(400_000, int), {"net": np.eye(2)[np.zeros(400_000, int)]}, seed=0)
    assert found.resamples == 200
    assert "200 bootstrap draws" in found.notes[0]


def test_a_metric_of_the_persons_own_is_measured_too() -> None:
    target, p = _classes(0, 120, 2)
    own = Metric("share_of_ones", lambda t, q: float((q[:, 1] > 0.5).mean()), True)
    interval = scores.score([own], target, {"net": p}, seed=0, resamples=300).values["net"]["share_of_ones"]
    assert interval.low < interval.value < interval.high
