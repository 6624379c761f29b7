from __future__ import annotations

import pytest

from torchkiln.checks.lint import names


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("torch.nn.functional.softmax", "torch.softmax"),
        ("torch.nn.modules.loss.NLLLoss", "torch.nn.NLLLoss"),
        ("pytorch_lightning.LightningModule", "lightning.pytorch.LightningModule"),
        ("torch.nn.parallel.DistributedDataParallel", "torch.nn.parallel.DistributedDataParallel"),
        ("torch.nn.parallel.DataParallel", "torch.nn.DataParallel"),
    ],
)
def test_one_spelling(written: str, full: str) -> None:
    assert names.canonical(written) == full


def test_train_and_held_out_are_told_apart() -> None:
    held = ["val_loader", "test_set", "valid_dl", "self.validation_loader", "testloader", "dev_iter"]
    train = ["train_loader", "trainloader", "training_set", "self.train_dl"]
    assert all(names.HELD_OUT_NAME.search(n) and not names.TRAIN_NAME.search(n) for n in held)
    assert all(names.TRAIN_NAME.search(n) and not names.HELD_OUT_NAME.search(n) for n in train)
    assert not any(names.HELD_OUT_NAME.search(n) for n in ("values", "latest", "interval", "device"))


def test_layers_without_parameters() -> None:
    assert names.PARAMETERLESS.match("torch.nn.ReLU") and names.PARAMETERLESS.match("torch.nn.MSELoss")
    assert not names.PARAMETERLESS.match("torch.nn.PReLU") and not names.PARAMETERLESS.match("torch.nn.Linear")
