"""What Python users call."""

from pathlib import Path

import pytest

import torchkiln
from torchkiln import api
from torchkiln.errors import DataError, RecipeError, RunError


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "t.csv"
    path.parent.mkdir()
    path.write_text("x,label\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(60)))
    return path


def test_init_writes_a_recipe_that_names_the_data_from_its_own_place(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "recipes" / "t.yaml"
    out.parent.mkdir()
    text = torchkiln.init(table, out)
    assert out.read_text() == text and "path: ../data/t.csv" in text
    loaded = api.recipes.load(out)
    assert Path(loaded.data.path or "") == table and loaded.data.target == "label"
    with pytest.raises(RunError, match="exists"):
        torchkiln.init(table, out)


def test_the_target_can_be_said(table: Path) -> None:
    assert "target: x" in torchkiln.init(table, target="x")


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({}, RecipeError, "give a recipe, data, or model and data"),
        ({"recipe": "gone.yaml"}, RecipeError, "gone.yaml"),
        ({"recipe": "gone"}, RecipeError, "does not exist"),
        ({"resume": "gone"}, RunError, "does not exist"),
        ({"resume": "gone", "overrides": {"train.epochs": 3}}, RecipeError, "goes on with a run as it is"),
        ({"resume": "gone", "overrides": ["train.devices=2"]}, RunError, "does not exist"),
        ({"recipe": {"task": "custom"}, "accept_data_change": True}, RecipeError, "is about a run that goes on"),
        ({"recipe": {"task": "tabel"}}, RecipeError, "unknown task 'tabel'"),
    ],
)
def test_wrong_input_is_told_before_torch_is_needed(
    arguments: dict[str, object], error: type[Exception], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=said):
        torchkiln.fit(**arguments)  # type: ignore[arg-type]


def test_a_run_directory_in_place_of_a_recipe_is_explained(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("task: custom\n")
    with pytest.raises(RecipeError, match=r"is a run directory; repeat it by .*recipe.yaml"):
        torchkiln.fit(tmp_path)


def test_compare_needs_two() -> None:
    with pytest.raises(RunError, match="at least two"):
        torchkiln.compare(["a"])


def test_data_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        torchkiln.init(tmp_path / "gone")
