"""Splits of one feature: those of scikit-learn's trees."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from torchkiln.codec.bins import tree_splits

RANDOM = np.random.default_rng(0)
FEATURES = {
    "all different": RANDOM.normal(size=3000),
    "whole numbers": RANDOM.integers(0, 40, 3000),
    "mostly zero": np.where(RANDOM.random(3000) < 0.9, 0, RANDOM.exponential(1000, 3000)),
    "two values": RANDOM.integers(0, 2, 3000),
    "one value": np.ones(3000),
    "large": 1e8 + RANDOM.normal(size=3000) * 1e3,
}
NOISE = np.random.default_rng(1).normal(size=3000)
TARGETS = {
    "two classes": lambda x: (np.sin(3 * x / (x.std() + 1)) + NOISE > 0).astype(np.int64),
    "five classes": lambda x: np.digitize(x + NOISE * (x.std() + 1), np.quantile(x, [0.2, 0.4, 0.6, 0.9])),
    "numbers": lambda x: (np.cos(2 * x / (x.std() + 1)) + 5 + NOISE).astype(np.float32),
    "one class": lambda x: np.zeros(len(x), np.int64),
}


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("name", FEATURES)
def test_splits_are_those_of_a_tree(name: str, kind: str) -> None:
    x = FEATURES[name].astype(np.float32)
    y, classes = TARGETS[kind](x.astype(np.float64)), kind != "numbers"
    tree_class = DecisionTreeClassifier if classes else DecisionTreeRegressor
    tree = tree_class(max_leaf_nodes=32, min_samples_leaf=16, random_state=0).fit(x[:, None], y).tree_
    expected = sorted(tree.threshold[tree.children_left >= 0].tolist())
    assert tree_splits(x, y, classes=classes, leaves=32, least=16) == pytest.approx(expected, rel=1e-9)


def test_too_few_rows_are_one_leaf() -> None:
    assert tree_splits(np.arange(9, dtype=np.float32), np.arange(9) % 2, classes=True, leaves=8, least=5) == []
