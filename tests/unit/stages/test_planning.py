"""A plan is made for what `fit` would train, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import torchkiln
from torchkiln.errors import DataError, RunError

QUICK = {"train.threads": 1, "train.precision": "32"}


def points(count: int) -> TensorDataset:
    x = torch.randn(count, 4)
    return TensorDataset(x, (x[:, 0] > 0).long())


def test_a_recipe_is_planned_and_nothing_is_trained(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = {"task": "table_classification", "data": {"path": str(table), "target": "y"}}
    found = torchkiln.plan(recipe, QUICK, out=tmp_path / "plan.json")
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".json"] == ["plan.json"] and not Path("runs").exists()
    assert json.loads((tmp_path / "plan.json").read_text()) == json.loads(json.dumps(found, default=str))
    assert {"data.store", "train.device", "train.compile", "train.micro_batch"} <= {
        d["what"] for d in found["decisions"]
    }
    assert found["recipe"]["train"]["device"] != "auto" and found["estimates"]["steps"] > 0
    with pytest.raises(RunError, match=r"plan.json exists; choose another with --out"):
        torchkiln.plan(recipe, QUICK, out=tmp_path / "plan.json")
    with pytest.raises(RunError, match=r"is no folder to write p.json to"):
        torchkiln.plan(recipe, QUICK, out=tmp_path / "not" / "p.json")


def test_a_persons_net_is_planned_for_its_loaders_batches() -> None:
    parts: dict[str, Any] = {"model": nn.Linear(4, 2), "loss": "cross_entropy"}
    loaders = (DataLoader(points(40), batch_size=10, shuffle=True), points(20), points(20))
    found = torchkiln.plan(overrides={**QUICK, "train.epochs": 3}, data=loaders, **parts)
    assert found["recipe"]["train"]["batch_size"] == 10 and found["estimates"]["steps"] == 12
    with pytest.raises(DataError, match="give datasets, loaders"):
        torchkiln.plan(model=nn.Linear(4, 2))


class Own(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def training_step(self, batch: Any, index: int) -> Any:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_the_steps_of_a_lightning_module_are_not_measured_and_the_plan_says_so() -> None:
    found = torchkiln.plan(model=Own(), data=(points(40), points(20)))
    assert found["measured"] is None and found["estimates"] is None
    why = {d["what"]: d["why"] for d in found["decisions"]}
    assert why["train.precision"] == "a LightningModule's own steps are not measured"
