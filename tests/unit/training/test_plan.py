"""What is decided is measured, and only what leaves the loss alone is taken."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from torchkiln.data.own import OwnStore, SampleSeed, _default_collate
from torchkiln.errors import RecipeError
from torchkiln.recipe.schema import Recipe
from torchkiln.tasks.custom import Custom
from torchkiln.training import plan
from torchkiln.training.settings import Setting, autocast
from torchkiln.training.trials import Stepper

STORE = {"what": "data.store", "chosen": "memory", "why": "", "candidates": []}


def decide(net: nn.Module, shape: tuple[int, ...], anew: bool = False, **train: Any) -> plan.Plan:
    recipe = Recipe(task="custom", data={}, loss={"name": "cross_entropy"}, train={"epochs": 2, **train})  # type: ignore[arg-type]
    data = TensorDataset(torch.randn(64, *shape), torch.arange(64) % 2)
    store = OwnStore(data, _default_collate, SampleSeed(0, "train"))
    task = Custom(recipe)
    return plan.decide(task, net, task.criterion(np.empty(0)), recipe, store, [dict(STORE)], anew)


def by_name(found: plan.Plan) -> dict[str, Any]:
    return {d["what"]: d for d in found.decisions}


def test_every_auto_is_replaced_and_the_net_left_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 2))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    threads = torch.get_num_threads()
    try:
        found = decide(net, (3, 8, 8))
    finally:
        torch.set_num_threads(threads)
    for section in (found.recipe.train, found.recipe.data):
        left = [
            k
            for k, v in section.model_dump().items()
            if v == "auto" and k not in ("image_size", "augment", "checkpoint_every")
        ]
        assert not left
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert {"train.device", "train.threads", "train.channels_last", "train.precision", "data.workers"} <= set(
        by_name(found)
    )
    assert found.recipe.optimizer.implementation in ("fused", "foreach", "loop")
    assert found.seconds > 0 and found.estimates is not None and found.estimates.steps == 4
    assert json.loads(json.dumps(found.written()))["measured"]["cached"] is False


def test_what_the_recipe_says_is_not_measured() -> None:
    found = by_name(decide(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (4,), threads=1, precision="32", device="cpu"))
    assert found["train.precision"]["why"] == "the recipe says so"
    assert found["train.threads"]["why"].startswith("the recipe says so; waiting threads: ")
    assert found["train.precision"]["chosen"] == "32" and not found["train.precision"]["candidates"]


def test_modules_that_stay_fp32_under_mixed_precision_are_seen() -> None:
    found = decide(
        nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2)),
        (4,),
        precision="bf16",
        device="cpu",
        threads=1,
    )
    assert "Linear" not in found.kept_fp32
    with autocast(Setting("cpu", 1, "bf16")):
        wanted = nn.LayerNorm(8)(torch.zeros(1, 8, dtype=torch.bfloat16)).dtype == torch.float32
    assert ("LayerNorm" in found.kept_fp32) is wanted
    assert decide(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (4,), precision="32", threads=1).kept_fp32 == []


def test_a_second_run_decides_by_what_the_first_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHKILN_CACHE", str(tmp_path))
    steps: list[int] = []
    real = Stepper.step
    monkeypatch.setattr(Stepper, "step", lambda self: (steps.append(1), real(self))[1])
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    first = decide(net, (4,))
    assert steps and first.measured is not None and first.measured["cached"] is False
    steps.clear()
    second = decide(net, (4,))
    assert not steps and second.measured == {**first.measured, "cached": True}
    assert second.recipe == first.recipe
    assert decide(net, (4,), anew=True).measured["cached"] is False and steps  # type: ignore[index]
    (file,) = (tmp_path / "plans").iterdir()
    file.write_text(file.read_text()[:-20])
    assert decide(net, (4,)).measured["cached"] is False  # type: ignore[index]


def test_without_time_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Stepper, "step")
    found = decide(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (4,), plan_seconds=0, threads=1)
    rows = by_name(found)
    assert "train.plan_seconds is 0" in rows["train.precision"]["why"]
    assert rows["train.threads"]["why"] == "the recipe says so"
    assert (found.recipe.train.precision, found.recipe.train.compile) == ("32", False)
    assert found.recipe.optimizer.implementation == "fused" and found.estimates is None and found.measured is None


def test_what_did_not_fit_in_a_trial_is_computed_in_parts() -> None:
    class Hungry(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if len(x) > 8:
                raise torch.OutOfMemoryError("full")
            return super().forward(x)

    found = decide(Hungry(4, 2), (4,), batch_size=32, threads=1, precision="32")
    assert found.recipe.train.micro_batch == 8 and found.recipe.train.batch_size == 32
    assert "ran out of memory" in by_name(found)["train.micro_batch"]["why"]


def test_arithmetic_of_cuda_is_refused_elsewhere() -> None:
    with pytest.raises(RecipeError, match=r"train.precision: tf32 is arithmetic of CUDA, and this trains on cpu"):
        decide(nn.Linear(4, 2), (4,), precision="tf32", device="cpu")
