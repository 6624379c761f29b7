"""What is exported: nets and data of a person's own go the same way as ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import torchkiln
from torchkiln import Run, bundle
from torchkiln.codec.base import Axis
from torchkiln.errors import ExportError, RunError
from torchkiln.stages import subject
from torchkiln.stages.from_parts import Parts

SETTINGS: dict[str, Any] = {
    "optimizer": {"name": "adam", "lr": 0.01},
    "train": {"epochs": 6, "threads": 1, "precision": "32"},
}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Linear(4, 8), nn.ReLU()), nn.Linear(8, 3)

    def forward(self, cat: Tensor) -> Tensor:
        found: Tensor = self.head(self.body(cat))
        return found


class Module(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        out = self.net(x)
        return {"scores": out, "largest": out.amax(dim=1)}

    def training_step(self, batch: Any, index: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0])["scores"], batch[1])

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0])["scores"], batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 0.01)


class Sequences(Dataset[Any]):
    """Texts of 3 to 8 ids; those of a batch are padded to its longest."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return torch.arange(1, 4 + i % 6), torch.tensor(float(i % 6))

    @staticmethod
    def together(samples: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        ids = nn.utils.rnn.pad_sequence([x for x, _ in samples], batch_first=True)
        return ids, torch.stack([y for _, y in samples])


def rows(count: int, seed: int) -> TensorDataset:
    x = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long())


DATA = (rows(120, 0), rows(50, 1), rows(50, 2))


@pytest.fixture
def fitted(tmp_path: Path) -> tuple[Run, Net]:
    torch.manual_seed(0)  # another start may still give one class to all rows, which proves nothing
    net = Net()
    return torchkiln.fit(SETTINGS, model=net, loss="cross_entropy", data=DATA, out=tmp_path / "run"), net


def test_a_net_of_ones_own(fitted: tuple[Run, Net]) -> None:
    run, net = fitted
    before = {name: value.clone() for name, value in net.state_dict().items()}
    made = subject.of_parts(run.directory, Parts(net, "cross_entropy", None, DATA))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    (spec,) = made.graph.inputs
    assert (spec.name, spec.dtype, spec.shape[1:]) == ("cat", "float32", (4,))
    assert (made.graph.prediction_kind, made.graph.outputs) == ("classes", ["probabilities"])
    assert made.classes == ["0", "1", "2"] and made.codec is None
    frame = made.rows("val")
    arrays = made.encode(frame)
    np.testing.assert_array_equal(arrays["cat"], DATA[1].tensors[0].numpy())
    np.testing.assert_allclose(made.predict(arrays).sum(axis=1), 1, rtol=1e-5)
    assert made.target is not None and made.target(frame).tolist() == DATA[1].tensors[1].tolist()
    assert made.records(frame[:1]) == [{"cat": DATA[1].tensors[0][0].tolist()}]


def test_a_lightning_module_gives_plain_tensors(tmp_path: Path) -> None:
    module = Module()
    run = torchkiln.fit({"train": SETTINGS["train"]}, model=module, data=DATA[:2], out=tmp_path / "run")
    made = subject.of_parts(run.directory, Parts(module, None, None, DATA[:2]))
    assert (made.graph.prediction_kind, made.graph.outputs) == ("tensor", ["scores", "largest"])
    assert made.predict(made.encode(made.rows("val"))).shape == (50, 4) and made.target is None


def test_sizes_that_vary_are_free() -> None:
    looks = [np.zeros((1, n), np.int64) + n for n in (3, 5)]
    spec = subject._spec("ids", looks)
    assert spec.shape[1].name == "length" and spec.below == 6  # type: ignore[union-attr]
    pictures = [np.zeros((1, 3, 8, n), np.float32) for n in (3, 5)]
    shape = subject._spec("image", pictures).shape
    assert shape[1:3] == (3, 8) and shape[3].name == "width"  # type: ignore[union-attr]


def test_a_batch_is_padded_as_the_person_pads_it() -> None:
    class Mean(nn.Module):
        def forward(self, ids: Tensor) -> Tensor:
            return ids.float().mean(dim=1)

    loader = DataLoader(Sequences(), batch_size=4, collate_fn=Sequences.together)
    reader = subject._OwnRows(subject.own.read((loader, loader), 0), Mean())
    assert [spec.name for spec in reader.specs] == ["ids"]
    assert isinstance(reader.specs[0].shape[1], Axis) and reader.specs[0].below == 9
    assert reader.arrays(reader.rows("val")[:3])["ids"].tolist()[0] == [1, 2, 3, 0, 0]


def test_inputs_that_are_no_tensors_are_told(fitted: tuple[Run, Net]) -> None:
    run, net = fitted

    class Words(Dataset[Any]):
        def __len__(self) -> int:
            return 20

        def __getitem__(self, i: int) -> tuple[str, Tensor]:
            return "word", torch.tensor(i % 3)

    with pytest.raises(ExportError, match=r"its input cat is a (tuple|list); a net whose inputs are plain tensors"):
        subject._OwnRows(subject.own.read((Words(), Words()), 0), net)
    data = subject.own.read(DATA, 0)
    data.splits.pop("val")
    with pytest.raises(ExportError, match="no validation samples by index"):
        subject._OwnRows(data, net)
    with pytest.raises(RunError, match=r"begun with objects from Python; export it by torchkiln\.export"):
        run.export()


@pytest.mark.slow
def test_a_bundle_of_ones_own_net(fitted: tuple[Run, Net]) -> None:
    run, net = fitted
    found = run.export(model=net, loss="cross_entropy", data=DATA, formats=["onnx"])
    assert found["ok"], found
    made = bundle.load(found["bundle"])
    (answer,) = made.predict({"cat": DATA[2].tensors[0][0].tolist()})
    assert set(answer["probabilities"]) == {"0", "1", "2"}
    with pytest.raises(RunError, match="was an object in Python: make one like it"):
        torchkiln.load(found["bundle"])
