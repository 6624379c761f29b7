"""Runs on a person's own parts, from Python and by class path."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import torchkiln
from torchkiln.errors import DataError, ModelError, RunError

OWN = """
import torch
from torch.utils.data import TensorDataset

def data(n):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
    return tuple(TensorDataset(x[i::3], (x[i::3, 0] > 0).long()) for i in range(3))

class Net(torch.nn.Linear):
    pass

def loss(output, target):
    return torch.nn.functional.cross_entropy(output, target)
"""
QUICK = {"train.epochs": 2, "train.threads": 1, "train.precision": "32", "data.workers": 0}


def datasets(classes: bool = True) -> list[TensorDataset]:
    x = torch.randn(90, 4, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long() if classes else x[:, 0] * 3
    return [TensorDataset(x[i::3], y[i::3]) for i in range(3)]


def test_objects_are_trained_tested_and_reported(tmp_path: Path) -> None:
    run = torchkiln.fit(model=nn.Linear(4, 2), loss=nn.CrossEntropyLoss(), data=datasets(), out=tmp_path / "r",
                        optimizer=lambda p: torch.optim.RMSprop(p, 0.05), overrides=QUICK)  # fmt: skip
    assert run.scores["metrics"]["accuracy"]["low"] <= run.scores["metrics"]["accuracy"]["value"]
    assert run.scores["split"] == "test" and run.report.exists()


def test_numbers_are_measured_as_numbers(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))
    run = torchkiln.fit(model=net, loss="smooth_l1", data=datasets(False)[:2], out=tmp_path / "r", overrides=QUICK)
    assert run.scores["primary"] == "rmse" and run.scores["split"] == "val"


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_parts.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_parts", raising=False)
    return "my_parts"


def recipe(own: str) -> dict[str, Any]:
    return {
        "task": "custom", "loss": {"class_path": f"{own}.loss"},
        "data": {"class_path": f"{own}.data", "init_args": {"n": 90}, "workers": 0},
        "model": {"class_path": f"{own}.Net", "init_args": {"in_features": 4, "out_features": 2}},
        "optimizer": {"class_path": "torch.optim.Adagrad", "lr": 0.1},
        "train": {"epochs": 2, "threads": 1, "precision": "32"},
    }  # fmt: skip


def test_class_paths_do_the_same_and_can_be_resumed(own_module: str, tmp_path: Path) -> None:
    run = torchkiln.fit(recipe(own_module), out=tmp_path / "r")
    before = run.scores
    run.directory.write_json("stages.json", {})
    assert torchkiln.fit(resume=run.path).scores == before
    again = torchkiln.fit(run.path / "recipe.yaml", out=tmp_path / "again")
    assert again.scores == before


def test_a_run_of_objects_says_how_it_is_resumed(tmp_path: Path) -> None:
    run = torchkiln.fit(
        model=nn.Linear(4, 2), loss="cross_entropy", data=datasets(), out=tmp_path / "r", overrides=QUICK
    )
    with pytest.raises(RunError, match=r"go on by torchkiln.fit\(model="):
        torchkiln.fit(resume=run.path)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"model": nn.Linear(9, 2), "data": datasets()}, ModelError, "a first batch fails"),
        ({"model": nn.Linear(4, 2)}, DataError, "give datasets"),
        ({"model": "resnet18", "data": datasets()}, ModelError, "a str was given"),
        ({"model": nn.Linear(4, 2), "data": []}, DataError, "0 datasets"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_written(
    given: dict[str, Any], error: type[Exception], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        torchkiln.fit(loss="cross_entropy", out=tmp_path / "r", overrides=QUICK, **given)
    assert not (tmp_path / "r").exists()
