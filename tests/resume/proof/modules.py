"""Small nets, data and LightningModules of a person's own: each keeps state in a place where it could be lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightning.pytorch as L
import torch
import torchmetrics
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset, IterableDataset, TensorDataset


def blobs(n: int, seed: int) -> TensorDataset:
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, (x[:, 0] + 0.3 * x[:, 1] > 0).long())


class Noisy(Dataset[Any]):
    """Augments: each look at a sample draws from the global generator."""

    def __init__(self, data: TensorDataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x, y = self.data[index]
        return x + 0.1 * torch.randn(4), y


class Poisoned(Noisy):
    """One sample makes the loss NaN."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x, y = super().__getitem__(index)
        return (x * float("nan") if index == 17 else x), y


class Stream(IterableDataset[Any]):
    """Ten batches of four with no length, no index and no order but its own."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        x, y = blobs(40, 0).tensors
        yield from zip(x.split(4), y.split(4), strict=True)


def pictures(n: int, seed: int) -> TensorDataset:
    x = torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, (x[:, 0].mean((1, 2)) > 0).long())


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


def conv_net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, 2))  # fmt: skip


class Hungry(nn.Module):
    """Runs out of memory when it trains on more than four samples at once, from its seventh batch on."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += self.training
        if self.training and len(x) > 4 and self.seen > 6:
            raise torch.OutOfMemoryError("the net of the test takes four samples at most")
        return self.net(x)


def large_loss(output: Tensor, target: Tensor) -> Tensor:
    """Overflows in fp16 under the first scales of a GradScaler."""
    return 300 * F.cross_entropy(output, target)


class Module(L.LightningModule):
    """The base of the others: one net, a validation loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def step_loss(self, batch: Any) -> Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: Any, index: int) -> Any:
        return self.step_loss(batch)

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", self.step_loss(batch), batch_size=len(batch[0]))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.02)


class Logging(Module):
    """Averages, sums and maxima over the epoch, a step's own figures, and torchmetrics by log and by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.accuracy = torchmetrics.classification.MulticlassAccuracy(2, average="micro")
        self.by_hand = torchmetrics.MeanMetric()
        self.val_accuracy = torchmetrics.classification.MulticlassAccuracy(2, average="micro")

    def training_step(self, batch: Any, index: int) -> Tensor:
        output = self.net(batch[0])
        loss = F.cross_entropy(output, batch[1])
        self.accuracy(output, batch[1])
        self.by_hand.update(loss.detach() ** 2)
        n = len(batch[0])
        self.log("train_accuracy", self.accuracy, on_step=False, on_epoch=True, batch_size=n)
        self.log("train_loss", loss, on_step=True, on_epoch=True, batch_size=n)
        self.log("worst", loss, on_step=False, on_epoch=True, reduce_fx="max", batch_size=n)
        self.log("total", loss, on_step=False, on_epoch=True, reduce_fx="sum", batch_size=n)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        # A second hook that logs: by its name and a flag Lightning tells an epoch's first value from a further one.
        self.log("last", outputs["loss"], on_step=False, on_epoch=True, batch_size=len(batch[0]))

    def validation_step(self, batch: Any, index: int) -> None:
        super().validation_step(batch, index)
        self.val_accuracy(self.net(batch[0]), batch[1])
        self.log("val_accuracy", self.val_accuracy, batch_size=len(batch[0]))

    def on_train_epoch_end(self) -> None:
        self.log("by_hand", self.by_hand.compute())
        self.by_hand.reset()


class StepPlateau(Module):
    """A plateau that is asked every fourth step."""

    def training_step(self, batch: Any, index: int) -> Tensor:
        loss = self.step_loss(batch)
        self.log("train_loss", loss, batch_size=len(batch[0]))
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.7, patience=0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "train_loss",
                                                         "interval": "step", "frequency": 4}}  # fmt: skip


class EpochPlateau(StepPlateau):
    """A plateau on the epoch's mean training loss."""

    def training_step(self, batch: Any, index: int) -> Tensor:
        loss = self.step_loss(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return loss

    def configure_optimizers(self) -> Any:
        made = super().configure_optimizers()
        made["lr_scheduler"] |= {"interval": "epoch", "frequency": 1}
        return made


class Manual(Module):
    """Two optimizers, stepped by hand, one of them every second batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.critic = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))

    def training_step(self, batch: Any, index: int) -> None:
        first, second = self.optimizers()
        loss = self.step_loss(batch)
        first.zero_grad()
        self.manual_backward(loss)
        first.step()
        if index % 2:
            value = self.critic(self.net(batch[0]).detach())
            second.zero_grad()
            self.manual_backward((value - loss.detach()).square().mean())
            second.step()
        if self.trainer.is_last_batch:
            self.lr_schedulers().step()
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch[0]))

    def configure_optimizers(self) -> Any:
        first = torch.optim.Adam(self.net.parameters(), lr=0.02)
        second = torch.optim.SGD(self.critic.parameters(), lr=0.05, momentum=0.9)
        return [first, second], [torch.optim.lr_scheduler.StepLR(first, 1, 0.8)]
