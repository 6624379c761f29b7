"""Measures by hand, and what is undefined; tests/parity compares with scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from torchkiln.tasks import _metrics

TARGET = np.array([0, 0, 0, 1])
P = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.4, 0.6]], np.float32)


def test_by_hand() -> None:
    found = {m.name: m.score(TARGET, P) for m in _metrics.classification(["a", "b"])}
    assert found == pytest.approx(
        {
            "accuracy": 3 / 4,
            "balanced_accuracy": (2 / 3 + 1) / 2,
            "macro_f1": (4 / 5 + 2 / 3) / 2,
            "auroc": 2 / 3,
            "log_loss": -np.log([0.9, 0.6, 0.3, 0.6]).mean(),
        },
        rel=1e-6,
    )
    numbers = {m.name: m.score(np.array([1.0, 2, 3]), np.array([1.0, 2, 6])) for m in _metrics.regression()}
    assert numbers == pytest.approx({"rmse": math.sqrt(3), "mae": 1.0, "r2": 1 - 9 / 2})


def test_ties_share_their_rank() -> None:
    assert _metrics.tied_ranks(np.array([5, 1, 5, 0])).tolist() == [3.5, 2.0, 3.5, 1.0]


def test_the_first_metric_is_the_one_that_compares() -> None:
    assert _metrics.classification(["a", "b"])[0].name == "accuracy"
    assert _metrics.regression()[0].name == "rmse"
    assert [m.name for m in _metrics.classification(["a", "b"]) if not m.higher_is_better] == ["log_loss"]
    assert [m.name for m in _metrics.regression() if m.higher_is_better] == ["r2"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predictions_that_are_not_finite_have_no_score(bad: float) -> None:
    p = P.copy()
    p[2, 0] = bad
    assert all(math.isnan(m.score(TARGET, p)) for m in _metrics.classification(["a", "b"]))
    assert all(math.isnan(m.score(TARGET.astype(float), p[:, 0])) for m in _metrics.regression())


def test_no_rows_have_no_score() -> None:
    nothing, empty = np.zeros(0, np.int64), np.zeros((0, 2), np.float32)
    assert all(math.isnan(m.score(nothing, empty)) for m in _metrics.classification(["a", "b"]))


def test_auroc_is_left_out_where_classes_are_many() -> None:
    names = [str(i) for i in range(_metrics.MOST_CLASSES_FOR_AUROC + 1)]
    assert "auroc" not in [m.name for m in _metrics.classification(names)]
    assert "auroc" in [m.name for m in _metrics.classification(names[:-1])]
