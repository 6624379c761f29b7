"""What a person gives in place of a recipe."""

from pathlib import Path

import pytest

from torchkiln.errors import DataError, RecipeError
from torchkiln.stages import given


def test_a_model_makes_a_custom_recipe_and_needs_data() -> None:
    assert given.recipe_of({"seed": 3}, {"train.epochs": 2}, object(), None).task == "custom"
    with pytest.raises(DataError, match="beside the model"):
        given.check(None, object(), None)
    with pytest.raises(RecipeError, match="give a recipe"):
        given.check(None, None, None)


def test_data_is_looked_at_and_its_target_taken_from_either_place(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{i},{i % 2}\n" for i in range(40)))
    for overrides, target in (({"data.target": "b"}, None), (["data.target=b"], None), ([], "b")):
        assert given.recipe_of(tmp_path / "t.csv", overrides, None, target).data.target == "b"
    with pytest.raises(RecipeError, match="does not exist; did you mean"):
        given.recipe_of(tmp_path / "tt.csv", (), None, None)
