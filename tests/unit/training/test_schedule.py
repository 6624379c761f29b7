from __future__ import annotations

from collections.abc import Callable

import pytest

from torchkiln import Run
from torchkiln.recipe.schema import Recipe
from torchkiln.training.schedule import planned_steps

Fit = Callable[..., Run]


@pytest.mark.parametrize(("train", "steps"), [
    ({"epochs": 3}, 30), ({"epochs": 3, "accumulate": 4}, 9), ({"epochs": 3, "steps": 7}, 7), ({"steps": 99}, 99),
    ({"epochs": 3, "limit_batches": 4}, 12),
])  # fmt: skip
def test_steps_of_the_whole_run(train: dict[str, int], steps: int) -> None:
    recipe = Recipe.model_validate({"task": "custom", "data": {}, "train": train})
    assert planned_steps(recipe, batches=10) == steps


def test_the_planned_rates_are_those_that_training_took(fit: Fit) -> None:
    run = fit(optimizer__lr=0.1, scheduler__name="cosine")
    planned = {int(r["step"]): float(r["lr"]) for r in run.directory.rows("schedule")}
    taken = {int(r["step"]): float(r["lr"]) for r in run.directory.rows("steps")}
    shared = planned.keys() & taken.keys()
    assert len(shared) > 10
    assert all(planned[step] == pytest.approx(taken[step]) for step in shared)


def test_a_rate_that_follows_the_validation_is_not_planned(fit: Fit) -> None:
    assert not fit(scheduler__name="plateau").directory.rows("schedule")
