"""Errors carry a code, an exit code and one sentence."""

import pytest

from torchkiln import errors


def leaves(base: type[errors.KilnError]) -> list[type[errors.KilnError]]:
    below = [cls for cls in base.__subclasses__() if cls.__module__ == errors.__name__]
    return [base] if not below else [leaf for b in below for leaf in leaves(b)]


def test_each_kind_has_a_code_of_its_own_that_the_tree_on_top_of_the_file_names() -> None:
    own = leaves(errors.KilnError)
    codes = [cls.code for cls in own]
    assert len(own) >= 5 and len(set(codes)) == len(codes)
    for cls in own:
        line = next(line for line in (errors.__doc__ or "").splitlines() if cls.__name__ in line)
        assert cls.code in line


def test_what_the_person_gave_wrong_exits_with_2_and_a_failed_run_with_1() -> None:
    assert errors.RecipeError("x").exit_code == errors.DataError("x").exit_code == 2
    assert errors.RunFailed("x").exit_code == 1


def test_faults_of_a_recipe_are_told_together() -> None:
    error = errors.RecipeError(["epochs is wrong", "lr is wrong"], "a.yaml")
    assert str(error) == "a.yaml: epochs is wrong; lr is wrong"
    assert error.faults == ["epochs is wrong", "lr is wrong"]


def test_a_missing_extra_is_named() -> None:
    with pytest.raises(errors.InputError, match=r"timm is not installed: pip install 'torchkiln\[timm\]'"):
        raise errors.MissingExtra("timm", "timm")
