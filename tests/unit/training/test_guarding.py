from __future__ import annotations

import warnings

import lightning.pytorch as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from torchkiln.checks.guard.watching import Guard
from torchkiln.training.guarding import Guarding


class Module(L.LightningModule):
    """With a softmax before its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 3)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]).softmax(1), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_lightning_script_is_watched_by_one_line() -> None:
    guard = Guard(quiet=True)
    call = nn.Module.__call__
    loader = DataLoader(TensorDataset(torch.randn(32, 4), torch.randint(3, (32,))), batch_size=8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = L.Trainer(max_epochs=1, accelerator="cpu", logger=False, callbacks=[Guarding(guard)],
                            enable_checkpointing=False, enable_progress_bar=False)  # fmt: skip
        trainer.fit(Module(), loader)
    assert "R515" in {f.rule for f in guard.findings} and nn.Module.__call__ is call
