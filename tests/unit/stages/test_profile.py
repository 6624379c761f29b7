"""Trainings of which it is known what bounds them."""

import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

import torchkiln
from torchkiln import Run
from torchkiln.errors import InputError, RecipeError, RunError
from torchkiln.training import peaks, probe

QUICK = {"train.threads": 1, "train.precision": "32", "train.batch_size": 16, "data.workers": 0}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "ENOUGH_SECONDS", 0.1)
    monkeypatch.setattr(peaks, "SIDES", (512,))


class Sleeping(Dataset[Any]):
    def __len__(self) -> int:
        return 48

    def __getitem__(self, index: int) -> Any:
        time.sleep(0.001)
        return torch.full((8,), float(index)), index % 4


class Elementwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.ones(200_000)), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        spread = x.repeat(1, 25_000)
        for _ in range(3):
            spread = torch.relu(spread * self.weight)
        out: Tensor = self.head(spread.view(len(x), -1, 8).mean(1))
        return out


class Logging(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(8, 4)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        for number in range(20):
            self.log(f"loss_{number}", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def points(features: int, rows: int = 256) -> TensorDataset:
    drawn = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(rows, features, generator=drawn), torch.randint(0, 4, (rows,), generator=drawn))


def profile(net: nn.Module, data: Dataset[Any], **more: Any) -> dict[str, Any]:
    overrides = {**QUICK, **more.pop("overrides", {})}
    loss = {} if isinstance(net, L.LightningModule) else {"loss": "cross_entropy"}
    return torchkiln.profile(model=net, data=(data, data, data), overrides=overrides, **loss, **more)


def dense(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))


def deep() -> nn.Module:
    return nn.Sequential(*(nn.Linear(4, 4) for _ in range(100)))


CASES: dict[str, Callable[[], tuple[nn.Module, Dataset[Any], dict[str, Any], str]]] = {
    "input": lambda: (nn.Linear(8, 4), Sleeping(), {}, "data.workers"),
    "compute": lambda: (dense(1024), points(1024), {"train.batch_size": 128}, "train.precision=bf16"),
    "memory bandwidth": lambda: (Elementwise(), points(8), {}, "train.precision=bf16"),
    "launch overhead": lambda: (deep(), points(4), {}, "train.batch_size=64"),
    "logging": lambda: (Logging(), points(8), {}, "Logging.log takes"),
}


@pytest.mark.slow
@pytest.mark.parametrize("bound", CASES)
def test_the_bound_is_found(bound: str) -> None:
    net, data, overrides, says = CASES[bound]()
    found = profile(net, data, overrides=overrides)
    assert found["bound"] == bound, found["shares"]
    assert found["shares"][bound] > 0.4 and sum(found["shares"].values()) == pytest.approx(1.0)
    assert says in found["next"]
    assert 0 <= found["achieved_flops"] < found["peak_flops"]


@pytest.mark.slow
def test_a_trace_is_written_and_flops_are_those_of_the_step(tmp_path: Path) -> None:
    found = profile(dense(64), points(64), out=tmp_path / "t.json.gz")
    assert found["flops_per_step"] == 2 * 16 * (3 * 2 * 64 * 64 + 3 * 64 * 4) - 2 * 16 * 64 * 64
    with gzip.open(tmp_path / "t.json.gz") as file:
        names = {event.get("name") for event in json.load(file)["traceEvents"]}
    assert {"aten::addmm", "run_training_batch", "[_TrainingEpochLoop].train_dataloader_next"} <= names


@pytest.mark.slow
def test_a_run_is_profiled_with_its_plan_and_left_as_it_is(fit: Callable[..., Run]) -> None:
    run = fit()
    before = {p: p.stat().st_mtime_ns for p in run.path.rglob("*")}
    found = torchkiln.profile(run)
    assert found["settings"] == {"device": "cpu", "threads": 1, "precision": "32", "batch_size": 64}
    assert {p: p.stat().st_mtime_ns for p in run.path.rglob("*")} == before
    with pytest.raises(RecipeError, match="a run is profiled as it was"):
        torchkiln.profile(run, ["train.epochs=3"])


def test_what_cannot_be_profiled_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"written as .json or .json.gz"):
        torchkiln.profile("x.yaml", out="trace.txt")
    with pytest.raises(InputError, match="there is no folder"):
        torchkiln.profile("x.yaml", out=tmp_path / "none" / "t.json")
    with pytest.raises(RecipeError, match="give a recipe"):
        torchkiln.profile()
    with pytest.raises(RunError, match="objects from Python"):
        torchkiln.profile({"task": "custom", "data": {}})
