from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from torchkiln.recipe.schema import SHORT_FORMS, Recipe, spell_out

BASE: dict[str, Any] = {"task": "table_regression", "data": {"path": "x"}}


def test_three_lines_are_a_recipe_and_the_rest_has_defaults() -> None:
    recipe = Recipe.model_validate({"task": "table_regression", "data": "rows.csv", "model": "mlp"})
    assert (recipe.data.path, recipe.model.name, recipe.seed) == ("rows.csv", "mlp", 0)
    assert recipe.model_fields_set == {"task", "data", "model"}


def test_short_forms_leave_full_ones_alone() -> None:
    given = {"task": "t", "data": "x", "loss": {"name": "mse"}, "seed": 1}
    assert spell_out(given) == {"task": "t", "data": {"path": "x"}, "loss": {"name": "mse"}, "seed": 1}
    assert set(SHORT_FORMS) < set(Recipe.model_fields)


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        ("model", {"name": "mlp", "class_path": "a.B"}, "give name or class_path, not both"),
        ("model", {"init_args": {"a": 1}}, "init_args go with class_path"),
        ("data", {"path": "a", "train": "b"}, "give path, or train, val and test, not both"),
        ("data", {"val": "b"}, "val and test need train beside them"),
        ("data", {"class_path": "a.B", "path": "b"}, "give class_path or paths, not both"),
        ("data", {"path": "a", "store": "device", "workers": 2}, "not to be had by 2 workers; take workers: 0"),
        ("data", {"path": "a", "split": {"by": "group"}}, "split by group needs the name of a column"),
        ("data", {"path": "a", "split": {"val": 0.5, "test": 0.5}}, "less than 1 must be left for train"),
        ("loss", {"name": "mse", "label_smoothing": 0.1}, "label_smoothing belongs to cross_entropy"),
        ("loss", {"name": "l1", "beta": 1.0}, "beta belongs to smooth_l1"),
        ("optimizer", {"name": "adamw", "momentum": 0.9}, "momentum and nesterov belong to sgd"),
        ("optimizer", {"name": "sgd", "betas": [0.9, 0.99]}, "betas belong to adam and adamw"),
    ],
)
def test_keys_that_do_not_go_together(section: str, values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Recipe.model_validate({**BASE, section: values})


def test_nothing_unknown_nothing_infinite_nothing_changed_later() -> None:
    for wrong in ({"epochs": 3}, {"optimizer": {"lr": float("inf")}}, {"train": {"epochs": 0}}):
        with pytest.raises(ValidationError):
            Recipe.model_validate({**BASE, **wrong})
    with pytest.raises(ValidationError, match="frozen"):
        Recipe.model_validate(BASE).seed = 3  # type: ignore[misc]


def test_an_augmentation_keeps_its_arguments_beside_its_name() -> None:
    recipe = Recipe.model_validate({**BASE, "data": {"path": "x", "augment": [{"name": "Crop", "size": 3}]}})
    assert isinstance(recipe.data.augment, list)
    assert recipe.data.augment[0].model_extra == {"size": 3}
