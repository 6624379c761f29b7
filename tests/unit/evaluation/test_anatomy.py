"""Confusion, calibration, residuals."""

from __future__ import annotations

import numpy as np
import pytest

from torchkiln.evaluation import anatomy


def _one_hot(best: list[int], classes: int) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[best]


def test_confusion_counts_true_by_row_and_predicted_by_column() -> None:
    target = np.array([0, 0, 0, 1, 2, 2])
    found = anatomy.confusion(target, _one_hot([0, 0, 1, 1, 0, 0], 3))
    assert found == [[2, 1, 0], [0, 1, 0], [2, 0, 0]]


def test_confusion_of_very_many_classes_is_left_out() -> None:
    assert anatomy.confusion(np.array([0]), np.zeros((1, anatomy.MOST_CLASSES + 1), np.float32)) is None


def test_the_most_confused_pairs_are_named_with_their_counts() -> None:
    target = np.array([0, 0, 0, 1, 2, 2])
    said = anatomy.most_confused(target, _one_hot([0, 0, 1, 1, 0, 0], 3), ["ant", "bee", "cat"])
    assert said == "Mixed up most: cat taken for ant (2 of 2), ant taken for bee (1 of 3)."
    assert anatomy.most_confused(target, _one_hot(target.tolist(), 3), ["ant", "bee", "cat"]) == ""


def test_a_calibrated_net_has_next_to_no_calibration_error_and_an_overconfident_one_has() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1.0, 20_000)
    right = rng.random(20_000) < p
    prediction = np.stack([p, 1 - p], axis=1)
    honest = anatomy.calibration(np.where(right, 0, 1), prediction)
    boasting = anatomy.calibration(np.where(rng.random(20_000) < 0.6, 0, 1), prediction)
    assert honest["ece"] < 0.015
    assert boasting["ece"] == pytest.approx(0.165, abs=0.03)  # mean |p - 0.6| over p in 0.5..1 is 0.17
    assert sum(b["n"] for b in honest["bins"]) == 20_000
    sizes = [b["n"] for b in honest["bins"]]
    assert max(sizes) - min(sizes) <= 1
    sure = [b["confidence"] for b in honest["bins"]]
    assert sure == sorted(sure)


def test_few_rows_make_few_bins() -> None:
    found = anatomy.calibration(np.array([0, 1, 0]), _one_hot([0, 0, 0], 2))
    assert found["bins"] == [{"confidence": 1.0, "accuracy": pytest.approx(2 / 3), "n": 3}]
    assert found["ece"] == pytest.approx(1 / 3)


def test_residuals_hold_all_errors_in_the_histogram_and_few_points() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(size=5_000)
    prediction = target + rng.normal(1.0, 0.5, 5_000)
    found = anatomy.residuals(target, prediction, seed=3)
    assert found["bias"] == pytest.approx(1.0, abs=0.05)
    assert sum(found["histogram"]["counts"]) == 5_000
    assert len(found["histogram"]["edges"]) == len(found["histogram"]["counts"]) + 1
    assert len(found["points"]) == 2_000
    assert set(map(tuple, found["points"])) <= set(zip(target.tolist(), prediction.tolist(), strict=True))
    assert found == anatomy.residuals(target, prediction, seed=3)
    assert found["points"] != anatomy.residuals(target, prediction, seed=4)["points"]


def test_residuals_of_a_perfect_net() -> None:
    found = anatomy.residuals(np.ones(3), np.ones(3), seed=0)
    assert sum(found["histogram"]["counts"]) == 3
    assert found["bias"] == 0.0
