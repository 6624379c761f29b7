"""Our measures against scikit-learn's."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from torchkiln.tasks import _metrics

sk = pytest.importorskip("sklearn.metrics", reason="scikit-learn comes with torchkiln[train]")


def _probabilities(rng: np.random.Generator, n: int, classes: int, ties: bool, dtype: type) -> np.ndarray:
    logits = rng.normal(size=(n, classes)) * 2
    if ties:
        logits = np.round(logits)
    p = np.exp(logits)
    return (p / p.sum(axis=1, keepdims=True)).astype(dtype)


def _sk_classification(target: np.ndarray, p: np.ndarray) -> dict[str, float]:
    labels, best = list(range(p.shape[1])), p.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        area = (
            sk.roc_auc_score(target, p[:, 1])
            if p.shape[1] == 2
            else sk.roc_auc_score(target, p.astype(np.float64), multi_class="ovr", labels=labels)
        )
        return {
            "accuracy": sk.accuracy_score(target, best),
            "balanced_accuracy": sk.balanced_accuracy_score(target, best),
            "macro_f1": sk.f1_score(target, best, average="macro", zero_division=0),
            "auroc": area,
            "log_loss": sk.log_loss(target, p, labels=labels),
        }


def _agree(ours: dict[str, float], theirs: dict[str, float]) -> None:
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, rel=2e-6, abs=1e-9, nan_ok=True), name


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [2, 3, 11])
def test_classification_equals_scikit_learn(classes: int, dtype: type, ties: bool) -> None:
    rng = np.random.default_rng(classes)
    for n in (30, 700):
        target = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
        p = _probabilities(rng, n, classes, ties, dtype)
        ours = {m.name: m.score(target, p) for m in _metrics.classification([str(c) for c in range(classes)])}
        _agree(ours, _sk_classification(target, p))


def _degenerate() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    some = _probabilities(rng, 20, 3, False, np.float32)
    certain = np.eye(2, dtype=np.float32)
    return {
        "one class in the target, of two": (np.zeros(9, int), _probabilities(rng, 9, 2, False, np.float32)),
        "a class without rows, of three": (rng.integers(0, 2, 20), some),
        "all predictions alike": (rng.integers(0, 3, 20), np.full((20, 3), 1 / 3, np.float32)),
        "certain and right": (np.array([0, 1, 1]), certain[[0, 1, 1]]),
        "certain and wrong": (np.array([0, 1, 1]), certain[[1, 0, 0]]),
        "a class never predicted": (np.array([0, 1, 2, 2]), np.tile(some[:1], (4, 1))),
        "one row": (np.array([1]), certain[[1]]),
    }


@pytest.mark.parametrize("case", _degenerate())
def test_degenerate_classification_equals_scikit_learn(case: str) -> None:
    target, p = _degenerate()[case]
    ours = {m.name: m.score(target, p) for m in _metrics.classification(["c"] * p.shape[1])}
    _agree(ours, _sk_classification(target, p))


def test_regression_equals_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    for n in (2, 50, 3000):
        target = (rng.normal(size=n) * 100 + 1e4).astype(np.float32)
        prediction = (target + rng.normal(size=n) * 30).astype(np.float32)
        ours = {m.name: m.score(target, prediction) for m in _metrics.regression()}
        t, p = target.astype(np.float64), prediction.astype(np.float64)
        theirs = {
            "rmse": sk.root_mean_squared_error(t, p),
            "mae": sk.mean_absolute_error(t, p),
            "r2": sk.r2_score(t, p),
        }
        assert ours == pytest.approx(theirs, rel=1e-9)


def test_a_constant_target_has_no_r2() -> None:
    target = np.full(5, 3.0, np.float32)
    assert math.isnan(_metrics.r2(target, target))
    with np.errstate(invalid="ignore"):
        assert math.isnan(sk.r2_score(target, target, force_finite=False))
