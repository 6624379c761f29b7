from __future__ import annotations

import pytest
from pydantic import ValidationError

from torchkiln.recipe.section import AtLeastOne, Part, Section


class Oven(Section):
    shelves: AtLeastOne = 1


def test_a_section_knows_its_keys_and_keeps_their_types() -> None:
    for wrong in ({"shelfs": 2}, {"shelves": 0}, {"shelves": "many"}):
        with pytest.raises(ValidationError):
            Oven.model_validate(wrong)
    with pytest.raises(ValidationError, match="frozen"):
        Oven().shelves = 2  # type: ignore[misc]


def test_a_part_has_a_name_or_a_class_path() -> None:
    assert Part(class_path="a.B", init_args={"c": 1}).init_args == {"c": 1}
    with pytest.raises(ValidationError, match="not both"):
        Part(name="a", class_path="a.B")
