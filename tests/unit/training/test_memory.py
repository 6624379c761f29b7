"""What a step needs is measured on a few samples; what does not fit at once is computed in parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from torchkiln.data.own import OwnStore, SampleSeed, _default_collate
from torchkiln.recipe.schema import Recipe
from torchkiln.tasks.custom import Custom
from torchkiln.training import memory
from torchkiln.training.estimates import Need
from torchkiln.training.settings import Setting
from torchkiln.training.trials import Trials

CPU = Setting("cpu", 1)
WIDTH = 1000


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(10, WIDTH), nn.Sigmoid(), nn.Linear(WIDTH, 2))


def trials(model: nn.Module, **train: Any) -> Trials:
    recipe = Recipe(task="custom", data={}, loss={"name": "cross_entropy"}, train={"batch_size": 32, **train})  # type: ignore[arg-type]
    store = OwnStore(TensorDataset(torch.randn(64, 10), torch.arange(64) % 2), _default_collate, SampleSeed(0, "train"))
    task = Custom(recipe)
    return Trials(task, model, task.criterion(np.empty(0)), recipe, store)


def test_a_need_is_weights_gradients_states_and_what_each_sample_keeps() -> None:
    model = net()
    model[0].bias.requires_grad = False  # type: ignore[union-attr]
    found = memory.need(trials(model), CPU)
    weights = 4 * sum(p.numel() for p in model.parameters())
    assert found.weights == weights and found.gradients == weights - 4 * WIDTH and found.states == 2 * found.gradients
    assert memory.TRANSIENT * 4 * WIDTH < found.activations < memory.TRANSIENT * 4 * (WIDTH + 100)
    assert len(trials(model).part["index"]) == 32


@pytest.mark.parametrize(
    ("free", "fits"),
    [(10**9, 32), (3360, 16), (3000, 16), (2000, 8), (1000, 1), (0, 1)],
)
def test_the_largest_even_part_that_fits_with_headroom(free: int, fits: int) -> None:
    need = Need(weights=0, gradients=400, states=400, activations=80)
    assert memory.fitting(need, 32, free) == fits


def test_a_batch_that_does_not_fit_is_computed_in_parts_and_trials_take_as_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = trials(net())
    need = memory.need(tried, CPU)
    monkeypatch.setattr(memory, "free_bytes", lambda device: round((need.step(8) + 10) / memory.HEADROOM))
    row, _ = memory.micro_batch(tried, CPU)
    assert row["chosen"] == 8 == len(tried.part["index"])
    assert "8 samples are computed at once" in row["why"] and "batch norm" not in row["why"]
    normed = trials(nn.Sequential(nn.Linear(10, WIDTH), nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, 2)))
    assert "batch norms see each part alone" in memory.micro_batch(normed, CPU)[0]["why"]


def test_what_fits_or_was_said_or_is_cut_by_shards_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory.micro_batch(trials(net()), CPU)[0]["chosen"] is None
    said = trials(net(), micro_batch=4)
    assert memory.micro_batch(said, CPU)[0]["chosen"] == 4 == len(said.part["index"])
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1)
    elastic = trials(net(), exact="elastic")
    assert memory.micro_batch(elastic, CPU)[0]["chosen"] is None


class Odd(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) < 32:
            raise ValueError("only whole batches")
        return super().forward(x)


def test_a_net_that_takes_no_few_samples_is_not_looked_at() -> None:
    row, need = memory.micro_batch(trials(Odd(10, 2)), CPU)
    assert row["chosen"] is None and "its memory cannot be told: ValueError" in row["why"]
    assert need.weights > 0 == need.activations


def test_free_memory_is_the_machines_or_the_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, used = tmp_path / "max", tmp_path / "current"
    monkeypatch.setattr(memory, "CGROUPS", ((str(limit), str(used)),))
    machine = memory.free_bytes("cpu")
    assert machine > 10**6
    limit.write_text("max\n"), used.write_text("500\n")
    assert memory.free_bytes("cpu") > 10**6
    limit.write_text("1500\n")
    assert memory.free_bytes("cpu") == 1000


def test_states_of_an_optimizer_are_counted_after_its_first_step() -> None:
    tried = trials(net())
    tried.base(CPU)
    assert tried.incumbent is not None
    weights = memory.bytes_of(tried.net.parameters())
    assert 2 * weights <= memory.states_of(tried.incumbent) <= 2 * weights + 64
