"""Bins lie where scikit-learn's decision tree would put them."""

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from torchkiln.codec.tree_bins import thresholds


def feature(kind: str, random: np.random.Generator, n: int) -> np.ndarray:
    values = {
        "continuous": lambda: random.normal(size=n),
        "whole": lambda: random.integers(0, 40, n),
        "rare": lambda: np.where(random.random(n) < 0.9, 0.0, random.exponential(size=n)),
        "close": lambda: 0.1 + 4e-8 * random.integers(0, 60, n) ** 2,
    }
    return np.asarray(values[kind](), np.float32)


@pytest.mark.parametrize("kind", ["continuous", "whole", "rare", "close"])
@pytest.mark.parametrize("classes", [0, 2, 30])
def test_they_are_those_of_scikit_learn(kind: str, classes: int) -> None:
    random = np.random.default_rng(classes)
    x = feature(kind, random, 3000)
    told = np.sin(3 * x) + random.normal(size=len(x))
    edges = np.quantile(told, np.linspace(0, 1, classes + 1)[1:-1]) if classes else []
    y = np.digitize(told, edges) if classes else told
    tree = (DecisionTreeClassifier if classes else DecisionTreeRegressor)(max_leaf_nodes=32, min_samples_leaf=16)
    fitted = tree.fit(x[:, None], y).tree_
    wanted = np.sort(fitted.threshold[fitted.children_left >= 0])
    found = thresholds(x, y, classes=bool(classes), most=32, least=16)
    assert len(found) > 1
    np.testing.assert_array_equal(found, wanted)


def test_no_bin_has_fewer_rows_than_asked_and_there_are_no_more_than_asked() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=500).astype(np.float32), random.integers(0, 2, 500)
    found = thresholds(x, y, classes=True, most=20, least=40)
    assert np.bincount(np.searchsorted(found, x)).min() >= 40
    assert len(thresholds(x, y, classes=True, most=4, least=1)) == 3


def test_what_is_pure_or_constant_is_not_split() -> None:
    x = np.arange(100, dtype=np.float32)
    assert thresholds(x, np.zeros(100, np.int64), classes=True, most=9, least=1) == []
    assert thresholds(x, (x >= 30).astype(np.int64), classes=True, most=9, least=1) == [29.5]
    assert thresholds(x, np.where(x < 70, 2.5, -1.0), classes=False, most=9, least=1) == [69.5]
    assert thresholds(np.ones(100, np.float32), np.arange(100) % 2, classes=True, most=9, least=1) == []
