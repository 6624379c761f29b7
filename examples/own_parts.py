"""A net, a data set and a LightningModule of one's own, with the same tests and the same report.

python examples/own_parts.py demo
"""

from __future__ import annotations

import sys
from pathlib import Path

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import torchkiln


class Spirals(Dataset[tuple[Tensor, Tensor]]):
    """Points on two spirals, and which of the two each is on."""

    def __init__(self, size: int, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        angle = torch.rand(size, generator=random) * 6 + 0.5
        self.labels = torch.randint(2, (size,), generator=random)
        turned = angle + self.labels * torch.pi
        points = torch.stack([turned.cos(), turned.sin()], dim=1) * angle[:, None] / 3
        self.points = points + 0.05 * torch.randn(size, 2, generator=random)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.points[index], self.labels[index]


class Net(nn.Module):
    """Two hidden layers."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 2)
        )

    def forward(self, points: Tensor) -> Tensor:
        return self.layers(points)


class Module(L.LightningModule):
    """The same as a LightningModule with its own step and optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, points: Tensor) -> Tensor:
        return self.net(points)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        points, labels = batch
        return nn.functional.cross_entropy(self(points), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        points, labels = batch
        self.log("val_loss", nn.functional.cross_entropy(self(points), labels))

    def test_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        points, labels = batch
        self.log("test_loss", nn.functional.cross_entropy(self(points), labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.01)


def main(folder: Path) -> None:
    data = (Spirals(2000, seed=0), Spirals(500, seed=1), Spirals(500, seed=2))
    settings = {"train.epochs": 20, "train.batch_size": 100, "optimizer.lr": 0.01}
    run = torchkiln.fit(
        overrides=settings,
        model=Net(),
        loss=nn.CrossEntropyLoss(),
        data=data,
        out=folder / "own_net",
        overwrite=True,
    )
    print(run.path)
    # The module has an optimizer of its own.
    settings = {"train.epochs": 20, "train.batch_size": 100}
    run = torchkiln.fit(overrides=settings, model=Module(), data=data, out=folder / "own_module", overwrite=True)
    print(run.path)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
