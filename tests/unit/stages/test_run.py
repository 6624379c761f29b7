"""What ends a training early leaves a run that can be resumed, and words that say so."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import torchkiln
from torchkiln.errors import RunFailed
from torchkiln.stages import run

QUICK = {"train.epochs": 3, "train.threads": 1, "train.precision": "32", "data.workers": 0, "train.batch_size": 10,
         "train.checkpoint_every": 2}  # fmt: skip


class Failing(nn.Linear):
    """Raises at its n-th training step, once."""

    at: int | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and torch.is_grad_enabled() and self.at is not None:
            self.at -= 1
            if self.at < 0:
                self.at = None
                raise RuntimeError("CUDA error: out of patience\nand a long tail")
        return super().forward(x)


def datasets() -> list[TensorDataset]:
    x = torch.randn(90, 4, generator=torch.Generator().manual_seed(0))
    return [TensorDataset(x[i::3], (x[i::3, 0] > 0).long()) for i in range(3)]


def fit(path: Path, net: nn.Module, **more: Any) -> torchkiln.Run:
    torch.manual_seed(0)
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    return torchkiln.fit(model=net, loss="cross_entropy", data=datasets(), out=path, overrides=QUICK, **more)


def test_an_exception_of_the_persons_net_is_one_sentence_and_the_run_goes_on_from_there(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", Failing(4, 2)).scores
    net = Failing(4, 2)
    net.at = 7  # behind the 6 trial steps of the plan, which work on copies
    with pytest.raises(RunFailed, match=r"training failed: RuntimeError: CUDA error: out of patience; the run is kept: "
                       r"go on with: torchkiln fit --resume"):  # fmt: skip
        fit(tmp_path / "r", net)
    resumed = torchkiln.fit(model=Failing(4, 2), loss="cross_entropy", data=datasets(), resume=tmp_path / "r")
    assert resumed.scores["metrics"] == whole["metrics"]


def test_the_likely_cause_of_a_failure_is_said() -> None:
    said = run._likely(IndexError("Target 3 is out of bounds."))
    assert said.startswith("; likely: a class index is not below the number of classes (X401): ")
    assert run._likely(KeyError("a")) == ""


def test_seconds_are_kept_apart_from_the_scores(tmp_path: Path) -> None:
    run = fit(tmp_path / "r", nn.Linear(4, 2))
    assert "seconds" not in run.scores["baselines"][0]
    assert run.directory.read_json("environment.json")["baseline_seconds"].keys() == {"majority class"}
