"""Class paths in a recipe: the person's own net, loss, optimizer and data, found in the working directory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

CODE = '''
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def rows(size, seed):
    x = torch.randn(size, 6, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, (x[:, 0] + x[:, 1] > 0).long())


def make(size=400):
    return rows(size, 0), rows(100, 1), rows(100, 2)


class Module(L.LightningDataModule):
    def __init__(self, size=400):
        super().__init__()
        self.size = size

    def train_dataloader(self):
        return DataLoader(rows(self.size, 0), batch_size=20, shuffle=True)

    def val_dataloader(self):
        return DataLoader(rows(100, 1), batch_size=50)

    def test_dataloader(self):
        return DataLoader(rows(100, 2), batch_size=50)


class Net(nn.Sequential):
    def __init__(self, width=32):
        super().__init__(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 2))


class ForTables(nn.Module):
    """Embeds the first category beside the numbers."""

    def __init__(self, width=32):
        super().__init__()
        self.first = nn.LazyLinear(width)
        self.last = nn.Linear(width, 2)

    def forward(self, numeric, categorical):
        both = torch.cat([numeric, categorical.float()], dim=1)
        return self.last(torch.relu(self.first(both)))


def loss(output, target):
    return nn.functional.cross_entropy(output, target)


class Trained(L.LightningModule):
    def __init__(self, lr=0.01):
        super().__init__()
        self.net, self.lr = Net(), lr

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, index):
        return loss(self(batch[0]), batch[1])

    def validation_step(self, batch, index):
        self.log("val_loss", loss(self(batch[0]), batch[1]))

    def test_step(self, batch, index):
        self.log("test_loss", loss(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)
'''

PARTS = """
task: custom
data: {class_path: my_parts.make, init_args: {size: 600}}
model: {class_path: my_parts.Net, init_args: {width: 16}}
loss: {class_path: my_parts.loss}
optimizer: {class_path: torch.optim.RAdam, init_args: {lr: 0.01}}
train: {epochs: 6, batch_size: 20}
"""
DATA_MODULE = PARTS.replace("my_parts.make", "my_parts.Module")
NAMED_LOSS = PARTS.replace("{class_path: my_parts.loss}", "cross_entropy")
LIGHTNING_MODULE = """
task: custom
data: {class_path: my_parts.Module}
model: {class_path: my_parts.Trained, init_args: {lr: 0.02}}
train: {epochs: 6}
"""
UNDER_A_TASK = """
task: table_classification
data: {path: customers.csv, target: stays}
model: {class_path: my_parts.ForTables, init_args: {width: 16}}
optimizer: {lr: 0.02}
train: {epochs: 25}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, customers: Path) -> Path:
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_parts.py").write_text(CODE, encoding="utf-8")
    shutil.copy(customers, folder)
    return folder


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("parts", PARTS),
        ("data_module", DATA_MODULE),
        ("named_loss", NAMED_LOSS),
        ("under_a_task", UNDER_A_TASK),
    ],
)
def test_class_paths(name: str, text: str, kiln: Any, place: Path) -> None:
    (place / f"{name}.yaml").write_text(text, encoding="utf-8")
    done = kiln("fit", f"{name}.yaml", "--out", f"runs/{name}", cwd=place)
    assert done.returncode == 0, done.stderr
    result = json.loads((place / "runs" / name / "test.json").read_text())
    assert result["metrics"]["accuracy"]["value"] > 0.7
    assert (place / "runs" / name / "report.html").is_file()


def test_a_lightning_module_with_its_data_module(kiln: Any, place: Path) -> None:
    (place / "module.yaml").write_text(LIGHTNING_MODULE, encoding="utf-8")
    done = kiln("fit", "module.yaml", "--out", "runs/module", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "test_loss" in (place / "runs" / "module" / "test.json").read_text()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("my_parts.Net", "my_parts.Nett"), ("model.class_path", "'Nett'", "'Net'")),
        (("{width: 16}", "{widht: 16}"), ("model.init_args", "widht")),
        (("my_parts.make", "my_part.make"), ("data.class_path", "my_part")),
        (("my_parts.loss", "torch.nn.TripletMarginLoss"), ("first batch",)),
    ],
)
def test_wrong_parts_are_one_sentence(
    wrong: tuple[str, str], words: tuple[str, ...], here: Any, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(place))
    (place / "wrong.yaml").write_text(PARTS.replace(*wrong), encoding="utf-8")
    code, _, errors = here("fit", "wrong.yaml", "--out", "runs/wrong", cwd=place)
    assert code == 2, errors
    assert "Traceback" not in errors
    assert [word for word in words if word not in errors] == [], errors


def test_a_net_that_does_not_fit_a_task_is_one_sentence(
    here: Any, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(place))
    (place / "wrong.yaml").write_text(UNDER_A_TASK.replace("ForTables", "Net"), encoding="utf-8")
    code, _, errors = here("fit", "wrong.yaml", "--out", "runs/wrong", cwd=place)
    assert code == 2, errors
    assert "model: a first batch fails: TypeError" in errors
