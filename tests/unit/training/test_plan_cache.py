"""What was measured is found again for the same net and batch, and for no other."""

from __future__ import annotations

import json
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
from torchkiln.training import plan_cache
from torchkiln.training.trials import Trials


def key(net: nn.Module | None = None, width: int = 4, steps: int = 100, **sections: Any) -> str:
    recipe = Recipe(task="custom", data={}, loss={"name": "cross_entropy"}, **sections)  # type: ignore[arg-type]
    data = TensorDataset(torch.randn(64, width), torch.arange(64) % 2)
    task = Custom(recipe)
    made = net or nn.Linear(width, 2)
    tried = Trials(
        task, made, task.criterion(np.empty(0)), recipe, OwnStore(data, _default_collate, SampleSeed(0, "x"))
    )
    return plan_cache.key(tried, "cpu", steps)


def test_the_same_net_batch_and_machine_have_one_name() -> None:
    assert key() == key() == key(steps=110, train={"monitor": "val_loss", "accumulate": 2})


def test_another_net_batch_recipe_length_or_machine_has_another(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = nn.Linear(4, 2)
    frozen.bias.requires_grad = False
    found = [key(), key(frozen), key(nn.Sequential(nn.Linear(4, 2))), key(width=5), key(steps=1000)]
    found += [key(train={"batch_size": 16}), key(train={"precision": "bf16"}), key(optimizer={"name": "sgd"})]
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    found.append(key())
    monkeypatch.setattr(plan_cache.environment, "cpu_model", lambda: "another")
    found.append(key())
    assert len(set(found)) == len(found)


def test_another_forward_of_the_persons_own_has_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    monkeypatch.syspath_prepend(tmp_path)
    names = []
    for number, body in enumerate(("super().forward(x)", "super().forward(x) * 2")):
        (tmp_path / f"own{number}.py").write_text(
            f"import torch\nclass Net(torch.nn.Linear):\n    def forward(self, x):\n        return {body}\n"
        )
        made = importlib.import_module(f"own{number}").Net
        made.__module__, made.__qualname__ = f"own{number}", "Net"
        names.append(plan_cache._code(made(4, 2)))
    assert names[0] != names[1]


def test_a_damaged_entry_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHKILN_CACHE", str(tmp_path))
    assert plan_cache.read("a") is None
    plan_cache.write("a", {"decisions": [1], "measured_at": "today"})
    assert plan_cache.read("a") == {"key": "a", "decisions": [1], "measured_at": "today"}
    file = tmp_path / "plans" / "a.json"
    for damaged in ("{", "[]", "null", json.dumps({"key": "b", "decisions": [1], "measured_at": "x"}), "{}", ""):
        file.write_text(damaged)
        assert plan_cache.read("a") is None
    assert [p.name for p in file.parent.iterdir()] == ["a.json"]


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCHKILN_CACHE", str(tmp_path / "file"))
    plan_cache.write("a", {"decisions": [1], "measured_at": "today"})
    assert plan_cache.read("a") is None
