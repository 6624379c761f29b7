"""A small own net and data, and a fit of them that takes a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import torchkiln
from torchkiln import Run


def blobs(n: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=generator)
    return TensorDataset(x, (x[:, 0] + 0.3 * x[:, 1] > 0).long())


@pytest.fixture
def datasets() -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    return blobs(45, 0), blobs(21, 1), blobs(20, 2)


@pytest.fixture
def fit(tmp_path: Path, datasets: Any) -> Callable[..., Run]:
    def run(name: str = "run", *, model: Any = None, data: Any = None, progress: Any = None, **overrides: Any) -> Run:
        torch.manual_seed(0)
        net = model or nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))
        settings = {
            "train.epochs": 4,
            "train.batch_size": 8,
            "train.threads": 1,
            "train.precision": "32",
            "data.workers": 0,
            **{key.replace("__", "."): value for key, value in overrides.items()},
        }
        return torchkiln.fit(
            model=net,
            loss="cross_entropy",
            data=data or datasets,
            out=tmp_path / name,
            overrides=settings,
            overwrite=True,
            progress=progress,
        )

    return run
