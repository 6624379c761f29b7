"""What a run will take, from its recipe and one step."""

from __future__ import annotations

from typing import Any

import pytest

from torchkiln.recipe.schema import Recipe
from torchkiln.training.estimates import Extent, Need, estimated


def recipe(**train: Any) -> Recipe:
    return Recipe(task="custom", data={}, train=train)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("train", "batches"),
    [
        ({"epochs": 3, "batch_size": 10}, 30),
        ({"epochs": 3, "batch_size": 30}, 12),  # the last batch is smaller
        ({"epochs": 3, "batch_size": 10, "limit_batches": 4}, 12),
        ({"epochs": 3, "batch_size": 10, "steps": 5, "accumulate": 2}, 10),
        ({"batch_size": 10, "steps": 50}, 50),
        ({"epochs": 3, "batch_size": 10, "devices": 2}, 15),
    ],
)
def test_a_run_is_as_long_as_its_recipe_says(train: dict[str, Any], batches: int) -> None:
    assert Extent.of(recipe(**train), 100).batches == batches


def test_a_budget_of_time_ends_it() -> None:
    extent = Extent.of(recipe(epochs=10, batch_size=1, max_time="1m"), 100)
    assert extent.seconds(0.01) == 10 and extent.seconds(1.0) == 60


def test_estimates_add_up() -> None:
    need = Need(weights=100, gradients=100, states=200, activations=7)
    said = recipe(epochs=2, batch_size=10, accumulate=2, device="cuda", keep_every=5)
    extent = Extent.of(said, 100)
    found = estimated(said, extent, need, batch_seconds=0.5, compile_seconds=3.0, samples=4)
    assert (found.steps, found.train_seconds) == (10, 13.0)
    assert found.peak_memory_bytes == 100 + 100 + 200 + 28
    assert found.checkpoint_bytes == 300 and found.disk_bytes == (2 + 2) * 300 + 200
    averaged = estimated(recipe(ema=0.9), extent, need, batch_seconds=0.5, compile_seconds=0.0, samples=4)
    assert averaged.checkpoint_bytes == 400 and averaged.peak_memory_bytes > 10**6  # this process
