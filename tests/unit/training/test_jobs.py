"""Nets, losses and loaders put together."""

from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import nn

from torchkiln.data.own import OwnData
from torchkiln.errors import RecipeError
from torchkiln.recipe.schema import Recipe
from torchkiln.tasks.custom import Custom
from torchkiln.training import jobs


def recipe(**more: Any) -> Recipe:
    return Recipe(task="custom", data={}, loss={"name": "mse"}, **more)  # type: ignore[arg-type]


def test_a_net_is_drawn_from_the_seed_alone() -> None:
    torch.rand(3)
    first = jobs.build_net(recipe(seed=5), lambda: nn.Linear(3, 3))
    torch.rand(8)
    again = jobs.build_net(recipe(seed=5), lambda: nn.Linear(3, 3))
    other = jobs.build_net(recipe(seed=6), lambda: nn.Linear(3, 3))
    assert torch.equal(first.weight, again.weight) and not torch.equal(first.weight, other.weight)  # type: ignore[arg-type]


def test_a_net_with_nothing_left_to_train_is_refused() -> None:
    with pytest.raises(RecipeError, match="every parameter is frozen"):
        jobs.build_net(recipe(model={"freeze": "*"}), lambda: nn.Linear(3, 3))


def test_the_metric_that_decides_is_the_recipes_or_the_first() -> None:
    task = Custom(recipe())
    assert jobs.monitored(recipe(), task) == ("val_loss", False)
    assert jobs.monitored(recipe(train={"monitor": "val_loss"}), task) == ("val_loss", False)
    with pytest.raises(RecipeError, match=r"train.monitor: unknown metric 'los': did you mean 'loss'"):
        jobs.monitored(recipe(train={"monitor": "los"}), task)


def test_the_process_is_told_by_lightnings_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert jobs.shard(recipe(train={"devices": 2})).rank == 1
    assert jobs.shard(recipe()).rank == 0


class Own(L.LightningModule):
    pass


@pytest.mark.parametrize(("more", "said"), [
    ({"train": {"exact": "elastic"}}, "the steps of a LightningModule cannot be cut"),
    ({"data": {"unreadable": "skip"}}, "data.unreadable: skip notes in a batch what it lacks"),
])  # fmt: skip
def test_what_needs_our_own_batches_is_refused_for_a_lightning_module(more: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        jobs.module_job(Own(), OwnData({}), Recipe.model_validate({"task": "custom", "data": {}, **more}))
