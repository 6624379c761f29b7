from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from torchkiln.data.leaks import find
from torchkiln.data.sources import look

N = 600


def columns(target: str, classification: bool, **values: Any) -> list[str]:
    frame = pl.DataFrame({"key": [str(i) for i in range(N)], "split": ["train"] * N, **values})
    return [f.samples[0] for f in find(frame, target, classification)]


def test_a_column_that_tells_the_class() -> None:
    random = np.random.default_rng(0)
    label = random.choice(["a", "b", "c"], N, p=[0.6, 0.3, 0.1])
    spoilt = label.copy()
    spoilt[:30] = "a"
    found = columns(
        "y",
        True,
        y=label,
        code=[{"a": 7, "b": 2, "c": 5}[x] for x in label.tolist()],
        amount=[{"a": 0.0, "b": 1.0, "c": 2.0}[x] + r for x, r in zip(label.tolist(), random.random(N), strict=True)],
        spoilt=spoilt,
        noise=random.random(N),
        name=[f"row {i}" for i in range(N)],
    )
    assert found == ["code", "amount"]


def test_a_number_that_sorts_two_classes() -> None:
    """One threshold parts them, so all but one of the bins hold a single class."""
    score = np.random.default_rng(0).permutation(N).astype(float)
    assert columns("y", True, y=score > 250, score=score) == ["score"]


def test_a_column_that_tells_the_number() -> None:
    random = np.random.default_rng(0)
    price = random.lognormal(3, 1, N)
    found = columns("y", False, y=price, in_cents=(price * 100).round(), hint=price + random.normal(0, 30, N))
    assert found == ["in_cents"]


def test_missing_cells_can_tell_too() -> None:
    label = ["dead", "alive"] * (N // 2)
    boat = [None if y == "dead" else f"boat {i % 8}" for i, y in enumerate(label)]
    assert columns("y", True, y=label, boat=boat) == ["boat"]


def test_nothing_is_found_in_little_data() -> None:
    frame = pl.DataFrame({"key": ["1", "2"], "split": ["train"] * 2, "x": ["a", "b"], "y": ["c", "d"]})
    assert find(frame, "y", True) == []
    assert find(frame.head(0), "y", True) == []


@pytest.mark.skipif("TORCHKILN_DATA" not in os.environ, reason="TORCHKILN_DATA names no folder of data sets")
@pytest.mark.parametrize(
    ("name", "target", "classification"),
    [
        ("adult", "income", True),
        ("california_housing", "median_house_value", False),
        ("titanic", "Survived", True),
        ("segment", "class", True),
        ("penguins", "species", True),
    ],
)
def test_real_tables_leak_nothing(name: str, target: str, classification: bool) -> None:
    frame = look(Path(os.environ["TORCHKILN_DATA"]) / name).frame
    assert find(frame, target, classification) == []
