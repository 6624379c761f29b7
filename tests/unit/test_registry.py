"""Names to what they stand for."""

import pytest

from torchkiln import registry
from torchkiln.errors import ModelError, RecipeError


def test_each_task_file_gives_its_task() -> None:
    names = registry.task_names()
    assert names == [
        "custom",
        "image_classification",
        "table_classification",
        "table_regression",
        "text_classification",
    ]
    for name in names:
        assert registry.load_task(name).name == name


def test_an_unknown_task_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'image_classification'"):
        registry.load_task("image_clasification")


@pytest.mark.parametrize(("given", "wanted"), [("RESNET18", "resnet18"), ("res-net18", "resnet18"), ("zzz", None)])
def test_the_nearest_name_forgives_case_and_dashes(given: str, wanted: str | None) -> None:
    assert registry.nearest(given, ["resnet18", "vit_b_16"]) == wanted


def test_a_class_path_gives_its_object() -> None:
    assert registry.load_object("collections.OrderedDict", "model").__name__ == "OrderedDict"


@pytest.mark.parametrize(
    ("path", "said"),
    [("Net", "is no class path"), ("no_such_pkg.Net", "cannot be imported"),
     ("collections.OrderdDict", "did you mean 'OrderedDict'")],
)  # fmt: skip
def test_a_wrong_class_path_is_told_apart(path: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        registry.load_object(path, "model.class_path")
