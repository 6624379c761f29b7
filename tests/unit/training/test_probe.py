from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from torchkiln.recipe.load import load
from torchkiln.training import probe
from torchkiln.training.fit import build_trainer, quiet
from torchkiln.training.probe import Enough, Probe, part_of, readable, watched_log


class Module(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = self.net(batch[0]).square().mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Counting(L.Callback):
    def on_train_batch_end(self, *args: object) -> None:
        sum(range(20_000))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "ENOUGH_SECONDS", 0.0)


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Probe:
    monkeypatch.chdir(tmp_path)  # Lightning leaves a checkpoint where it is
    module = Module()
    found = Probe(module)
    data = DataLoader(TensorDataset(torch.randn(12, 4)), 4)  # epochs of three steps
    recipe = load({"task": "custom", "data": {}, "train": {"device": "cpu", "epochs": 100}}, check_paths=False)
    with quiet(), watched_log(module, found), pytest.raises(Enough):
        build_trainer(recipe, [Counting()], profiler=found).fit(module, data)
    assert "log" not in vars(module), "the module's own log was put back"
    return found


def test_a_stretch_is_timed_watched_and_ended(seen: Probe) -> None:
    assert seen.steps["warm"] == probe.WARM and seen.steps["timed"] == probe.ENOUGH_STEPS
    assert seen.steps["watched"] in (4, 5) and probe.EVERY == 2
    assert [sum(o.name == "addmm" for o in one) for one in seen.made] == [1] * seen.steps["watched"]
    assert all(any(o.name == "mm" for o in one) for one in seen.made), "the backward pass is watched too"
    parts = seen.parts()
    assert min(parts.values()) > 0
    assert {"Module.log", "Counting.on_train_batch_end", probe.LOOP} <= set(seen.between())


@pytest.mark.parametrize(
    ("slow", "wanted"), [("Module.log", "Module.log"), ("[Callback]Recorder.on_train_batch_end", None)]
)
def test_only_what_is_the_persons_is_held_against_them(seen: Probe, slow: str, wanted: str | None) -> None:
    assert seen.own == ["Counting"]
    seen.seconds[slow] += 100.0
    found = seen.costliest_of_the_persons()
    assert (found and found[0]) == wanted


def test_parts_are_told_by_what_they_are_for() -> None:
    assert part_of("[_TrainingEpochLoop].train_dataloader_next") == "input"
    assert part_of("[Strategy]SingleDeviceStrategy.batch_to_device") == "input"
    assert part_of("[Strategy]SingleDeviceStrategy.backward") == "net"
    assert part_of("[LightningModule]Net.optimizer_step") == "net"
    assert part_of("[Callback]Own.optimizer_step") == "between"
    assert part_of("[LightningModule]Net.on_train_batch_end") == "between" == part_of("")


def test_names_can_be_read() -> None:
    assert readable("[Callback]EarlyStopping{'mode': 'min'}.on_train_end") == "EarlyStopping.on_train_end"
    assert readable("run_training_batch") == probe.LOOP == readable("")


def test_probing_costs_little() -> None:
    assert 0 < probe.cost_of_probing() < 1e-4
