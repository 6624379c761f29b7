"""What is decided is measured, and only what leaves the loss alone is taken."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from torchkiln.data.own import OwnStore, SampleSeed, _default_collate
from torchkiln.recipe.schema import Recipe
from torchkiln.tasks.custom import Custom
from torchkiln.training import plan
from torchkiln.training.plan import Setting, Trial

STORE = {"what": "data.store", "chosen": "memory", "why": "", "candidates": []}


def decide(net: nn.Module, shape: tuple[int, ...], **train: Any) -> plan.Plan:
    recipe = Recipe(task="custom", data={}, loss={"name": "cross_entropy"}, train={"epochs": 2, **train})  # type: ignore[arg-type]
    data = TensorDataset(torch.randn(64, *shape), torch.arange(64) % 2)
    store = OwnStore(data, _default_collate, SampleSeed(0, "train"))
    task = Custom(recipe)
    return plan.decide(task, net, task.criterion(np.empty(0)), recipe, store, [dict(STORE)])


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
    assert found.seconds > 0


def test_what_the_recipe_says_is_not_measured() -> None:
    found = by_name(decide(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (4,), threads=1, precision="32", device="cpu"))
    assert found["train.precision"]["why"] == found["train.threads"]["why"] == "the recipe says so"
    assert found["train.precision"]["chosen"] == "32" and not found["train.precision"]["candidates"]


@pytest.mark.parametrize(
    ("trial", "taken", "said"),
    [
        (Trial(0.5, (2.0, 1.0)), True, "2.00 times as fast"),
        (Trial(0.98, (2.0, 1.0)), False, "does not pay"),
        (Trial(0.1, (2.0, 1.2)), False, "with bf16 the loss after the trial steps is off by 20 %"),
        (Trial(0.1, (2.0, float("nan"))), False, "off by nan"),
        (Trial(0.5, (2.0, 1.0, 0.3)), True, "2.00 times as fast"),
    ],
)
def test_a_candidate_must_be_faster_and_leave_the_loss(trial: Trial, taken: bool, said: str) -> None:
    """Losses are compared after the same number of steps: a faster candidate takes more in its time."""
    accepted, why = plan._is_better("bf16", trial, Trial(1.0, (2.0, 1.0)), Trial(1.0, (2.0, 1.0)))
    assert accepted is taken
    assert said in why


def test_modules_that_stay_fp32_under_mixed_precision_are_seen() -> None:
    found = decide(
        nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2)),
        (4,),
        precision="bf16",
        device="cpu",
        threads=1,
    )
    assert "Linear" not in found.kept_fp32
    with plan.autocast(Setting("cpu", 1, "bf16")):
        wanted = nn.LayerNorm(8)(torch.zeros(1, 8, dtype=torch.bfloat16)).dtype == torch.float32
    assert ("LayerNorm" in found.kept_fp32) is wanted
    assert decide(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (4,), precision="32", threads=1).kept_fp32 == []


def test_a_device_that_is_not_here_gives_way_to_the_best_there_is() -> None:
    assert plan.available("cpu") == "cpu"
    if not torch.cuda.is_available():
        assert plan.available("cuda") == plan.best_device()
