"""Trial steps are of copies, in turns, under the same random numbers."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from torchkiln.data.own import OwnStore, SampleSeed, _default_collate
from torchkiln.recipe.schema import Recipe
from torchkiln.tasks.custom import Custom
from torchkiln.training.settings import Setting
from torchkiln.training.trials import Trial, Trials, gain, to_device

CPU = Setting("cpu", 1)


def trials(net: nn.Module, **train: Any) -> Trials:
    recipe = Recipe(task="custom", data={}, loss={"name": "cross_entropy"}, train=train)  # type: ignore[arg-type]
    store = OwnStore(TensorDataset(torch.randn(64, 4), torch.arange(64) % 2), _default_collate, SampleSeed(0, "train"))
    task = Custom(recipe)
    return Trials(task, net, task.criterion(np.empty(0)), recipe, store)


def test_candidate_and_incumbent_step_in_turns_and_the_net_stays_as_it_was() -> None:
    order: list[str] = []

    class Noted(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            order.append("bf16" if torch.is_autocast_enabled("cpu") else "32")
            return super().forward(x)

    net = Noted(4, 2)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    tried = trials(net, batch_size=16)
    tried.base(CPU)
    order.clear()
    best, candidate, _ = tried.against(replace(CPU, precision="bf16"), until=time.perf_counter() + 10)
    assert order[:7] == ["bf16", "32", "bf16", "32", "bf16", "32", "bf16"]
    assert len(candidate.losses) >= 7 and len(best.losses) > len(candidate.losses)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_random_numbers_are_the_same_for_each_setting() -> None:
    tried = trials(nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2)))
    base = tried.base(CPU)
    _, again, _ = tried.against(CPU, until=0.0)
    assert again.losses == base.losses[: len(again.losses)]


def test_late_trials_are_short() -> None:
    tried = trials(nn.Linear(4, 2))
    tried.base(CPU)
    assert len(tried.against(CPU, until=0.0)[1].losses) == 3


class Hungry(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 10:
            raise torch.OutOfMemoryError("full")
        return super().forward(x)


def test_where_a_batch_does_not_fit_less_of_it_is_computed() -> None:
    tried = trials(Hungry(4, 2), batch_size=32)
    tried.base(CPU)
    assert len(tried.part["index"]) == 8 and len(tried.batch["index"]) == 32
    with pytest.raises(RuntimeError, match="mat1 and mat2"):  # what is no lack of memory is raised
        trials(nn.Linear(5, 2)).base(CPU)


def test_a_gain_is_what_both_medians_and_quickest_steps_say() -> None:
    assert gain(Trial(1.0, (), 0.5), Trial(0.5, (), 0.5)) == 1.0
    assert gain(Trial(1.0, ()), Trial(0.5, ())) == 2.0


def test_a_batch_goes_to_the_device_at_any_depth() -> None:
    moved = to_device({"a": [torch.zeros(1)], "b": ("x", torch.zeros(2))}, "meta")
    assert moved["a"][0].device.type == moved["b"][1].device.type == "meta" and moved["b"][0] == "x"
