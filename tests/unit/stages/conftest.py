"""A small table, and a run on it that takes two seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import torchkiln
from torchkiln import Run


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    frame = pl.DataFrame(
        {"x": x, "z": rng.normal(size=300), "y": np.where(x + 0.2 * rng.normal(size=300) > 0, "up", "down")}
    )
    frame.write_csv(tmp_path / "t.csv")
    return tmp_path / "t.csv"


@pytest.fixture
def fit(table: Path, tmp_path: Path) -> Callable[..., Run]:
    def run(name: str = "run", **more: Any) -> Run:
        settings = {
            "data.target": "y",
            "model.name": "mlp",
            "train.epochs": 3,
            "train.threads": 1,
            "train.precision": "32",
            "data.workers": 0,
        }
        return torchkiln.fit(table, settings, out=tmp_path / name, **more)

    return run
