from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from torchkiln.errors import RecipeError
from torchkiln.recipe.load import dump, load, loads, resolve
from torchkiln.recipe.schema import Recipe

BASE: dict[str, Any] = {"task": "table_classification", "data": {"path": "."}}
DEFAULTS: dict[str, Any] = {
    "data": {"augment": [{"name": "RandomCrop", "size": 32}]},
    "model": {"name": "tabm", "args": {"k": 16, "width": 128}},
    "optimizer": {"name": "adamw", "lr": 3e-3, "betas": [0.9, 0.99]},
    "scheduler": {"name": "cosine", "warmup": 0.1},
    "train": {"epochs": 100, "ema": 0.99, "early_stopping": {"patience": 16}, "clip": {"norm": 1.0},
              "precision": "bf16"},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("x,y\n")
    return tmp_path


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


# Sources


def test_a_file_a_mapping_and_a_recipe_say_the_same(folder: Path) -> None:
    file = write(folder / "r.yaml", "task: table_regression\ndata: rows.csv\nmodel: mlp\n")
    from_file = load(file)
    assert from_file == load({"task": "table_regression", "data": "rows.csv", "model": "mlp"})
    assert from_file == load(from_file) == loads(file.read_text())


def test_the_mapping_given_is_not_changed(folder: Path) -> None:
    given_: dict[str, Any] = {"task": "table_regression", "data": {"path": "rows.csv"}}
    load(given_, {"data.target": "y"})
    assert given_ == {"task": "table_regression", "data": {"path": "rows.csv"}}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_windows_editors_are_read(folder: Path, encoding: str) -> None:
    text = "task: table_regression\r\ndata: {path: rows.csv, target: \u00e4}\r\n"
    (folder / "r.yaml").write_bytes(text.encode(encoding))
    assert load("r.yaml").data.target == "\u00e4"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "r.yaml: is empty; a recipe needs task and data"),
        (b"# nothing\n", "is empty"),
        (b"- a\n", "holds a list"),
        (b"hello", "holds only 'hello'"),
        (b"\xff\xfe\x00", "is no UTF-8 text"),
        (b"task: \xe4", "r.yaml is no UTF-8 text (byte 6 is 0xe4)"),
    ],
)
def test_what_is_no_recipe_is_named(folder: Path, content: bytes, said: str) -> None:
    (folder / "r.yaml").write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load("r.yaml")
    assert said in str(caught.value)


def test_a_missing_file_and_a_folder(folder: Path) -> None:
    write(folder / "flowers.yaml", "")
    with pytest.raises(RecipeError, match=r"flower.yaml does not exist; did you mean 'flowers.yaml'\?"):
        load("flower.yaml")
    with pytest.raises(RecipeError, match="is a folder; a recipe is a YAML file"):
        load(folder)


def test_all_faults_at_once_whatever_their_kind(folder: Path) -> None:
    write(folder / "r.yaml", "task: nothing\ndata: {path: row.csv}\nseed: 1\nseed: 2\ntrain: {epochs: 0}\n")
    with pytest.raises(RecipeError) as caught:
        load("r.yaml", ["train.epoch=3", "what"])
    said = [fault.split(" ")[0] for fault in caught.value.faults]
    assert said == ["seed", "'what'", "task", "train.epochs", "train.epoch", "data.path:"]
    assert caught.value.where == "r.yaml"


# Short forms, overrides


def test_short_forms_and_sections_left_empty(folder: Path) -> None:
    recipe = loads("task: table_regression\ndata: rows.csv\nloss: l1\nmodel:\n  # name: mlp\nscheduler: constant\n")
    assert (recipe.loss.name, recipe.scheduler.name, recipe.model.name) == ("l1", "constant", None)
    assert recipe.data.path == str(folder / "rows.csv")


def test_a_section_of_null_is_a_fault_with_the_word_that_was_meant(folder: Path) -> None:
    with pytest.raises(RecipeError, match=r"scheduler \(line 3\): found null, .*did you mean constant\?"):
        loads("task: table_regression\ndata: rows.csv\nscheduler: null\n")


def test_overrides_as_words_and_as_a_mapping(folder: Path) -> None:
    words = load(BASE, ["optimizer.lr=1e-4", "train.epochs=5", "data.target=2020", "loss=mse"])
    values = load(BASE, {"optimizer.lr": 1e-4, "train": {"epochs": 5}, "data.target": "2020", "loss": "mse"})
    assert words == values
    assert (words.optimizer.lr, words.data.target) == (0.0001, "2020")


def test_an_override_of_an_unknown_key_is_named_as_given() -> None:
    with pytest.raises(RecipeError) as caught:
        load(BASE, ["optimizer.learning_rat=1"])
    assert caught.value.faults == [
        "optimizer.learning_rat (given as optimizer.learning_rat=1): unknown key; did you mean lr?"
    ]


# Paths


def test_paths_of_a_file_start_at_its_folder_and_overrides_at_the_working_directory(folder: Path) -> None:
    write(folder / "sub" / "a.csv", "")
    file = write(folder / "sub" / "r.yaml", "task: table_regression\ndata: {train: a.csv}\n")
    assert load(file).data.train == str(folder / "sub" / "a.csv")
    assert load("sub/r.yaml", ["data.test=rows.csv"]).data.test == str(folder / "rows.csv")


def test_a_missing_path_says_where_it_was_looked_for(folder: Path) -> None:
    file = write(folder / "sub" / "r.yaml", "task: table_regression\ndata: {train: rows.csv, val: nope}\n")
    with pytest.raises(RecipeError) as caught:
        load(file)
    assert caught.value.faults == [
        f"data.train: 'rows.csv' does not exist in {folder / 'sub'}; paths in a recipe start at its own "
        "folder: write '../rows.csv'",
        f"data.val: 'nope' does not exist in {folder / 'sub'}",
    ]
    assert load(file, check_paths=False).data.val == str(folder / "sub" / "nope")


@pytest.mark.usefixtures("folder")
def test_a_misspelt_path_gets_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match=r"data.path: 'row.csv' does not exist .*did you mean 'rows.csv'\?"):
        load({"task": "table_regression", "data": "row.csv"})


def test_weights_are_a_path_and_switches_are_none(folder: Path) -> None:
    write(folder / "sub" / "w.safetensors", "")
    text = "task: table_regression\ndata: ../rows.csv\nmodel: {pretrained: %s}\n"
    file = write(folder / "sub" / "r.yaml", text % "w.safetensors")
    assert load(file).model.pretrained == str(folder / "sub" / "w.safetensors")
    for word, value in {"auto": "auto", "true": True, "off": False}.items():
        assert load(write(file, text % word)).model.pretrained == value


def test_a_model_in_a_folder_is_a_path_and_one_of_the_hub_is_none(folder: Path) -> None:
    (folder / "sub" / "my-bert").mkdir(parents=True)
    text = "task: table_regression\ndata: ../rows.csv\nmodel: %s\n"
    file = write(folder / "sub" / "r.yaml", text % "hf:my-bert")
    assert load(file).model.name == f"hf:{folder / 'sub' / 'my-bert'}"
    assert load(write(file, text % "hf:org/my-bert")).model.name == "hf:org/my-bert"


def test_a_loaded_recipe_can_be_written_anywhere(folder: Path) -> None:
    recipe = load({"task": "table_regression", "data": "rows.csv"})
    copy = write(folder / "runs" / "one" / "recipe.yaml", dump(recipe))
    os.chdir(folder / "runs")
    assert load(copy) == recipe


# Defaults


def test_defaults_lie_under_what_was_written() -> None:
    recipe = resolve(load(BASE, ["model.args={k: 8}", "train.early_stopping={min_epochs: 4}"]), DEFAULTS)
    assert recipe.model.name == "tabm"
    assert recipe.model.args == {"k": 8, "width": 128}
    assert recipe.optimizer.betas == (0.9, 0.99)
    assert recipe.train.early_stopping is not None
    assert (recipe.train.early_stopping.patience, recipe.train.early_stopping.min_epochs) == (16, 4)
    assert isinstance(recipe.data.augment, list)


def test_null_stays_null_and_auto_gives_way() -> None:
    recipe = resolve(
        load(BASE, ["train.ema=null", "train.early_stopping=null", "train.precision=auto", "model=auto"]),
        DEFAULTS,
    )
    assert recipe.train.ema is None
    assert recipe.train.early_stopping is None
    assert recipe.train.precision == "bf16"
    assert recipe.model.name == "tabm"


@pytest.mark.parametrize("choice", ["optimizer=sgd", "optimizer={class_path: my.Optimizer}"])
def test_defaults_of_a_part_are_for_that_part_alone(choice: str) -> None:
    recipe = resolve(load(BASE, [choice, "model=mlp"]), DEFAULTS)
    assert (recipe.optimizer.lr, recipe.optimizer.betas) == (None, None)
    assert recipe.model.args == {}
    assert recipe.scheduler.name == "cosine"


def test_a_default_that_names_no_part_is_for_any() -> None:
    assert resolve(load(BASE, ["optimizer=sgd"]), {"optimizer": {"lr": 0.1}}).optimizer.lr == 0.1


def test_a_default_that_does_not_go_with_what_was_written_is_left_out() -> None:
    recipe = resolve(load(BASE, ["train.clip.value=1", "optimizer=sgd"]), {
        "train": {"clip": {"norm": 1.0}}, "optimizer": {"betas": [0.9, 0.99], "lr": 0.1}})  # fmt: skip
    assert (recipe.train.clip.value, recipe.train.clip.norm) == (1.0, None)
    assert (recipe.optimizer.lr, recipe.optimizer.betas) == (0.1, None)


def test_a_default_that_is_wrong_in_itself_is_our_fault_and_loud() -> None:
    with pytest.raises(ValidationError):
        resolve(load(BASE), {"train": {"epoch": 3}})


# Writing


def test_a_resolved_recipe_repeats_itself() -> None:
    recipe = resolve(load(BASE, ["optimizer=sgd", "train.ema=null", "train.clip.value=1"]), DEFAULTS)
    again = loads(dump(recipe))
    assert again == recipe
    assert resolve(again, DEFAULTS) == recipe
    assert dump(resolve(again, DEFAULTS)) == dump(recipe)


def test_what_is_written_is_short_and_in_order() -> None:
    text = dump(load(BASE, ["train.ema=null", "optimizer.betas=[0.8, 0.9]", "train.epochs=3"]))
    keys = [line.split(":")[0] for line in text.splitlines() if not line.startswith(" ")]
    assert keys == ["task", "seed", "data", "model", "optimizer", "train"]
    assert "  ema: null\n" in text, "a null that was written stays"
    assert "momentum" not in text, "a null that nobody wrote does not"
    assert "  betas: [0.8, 0.9]\n" in text
    assert text.index("epochs: 3") < text.index("accumulate: 1") < text.index("ema: null")


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs",))),
    st.sampled_from(["no", "off", "1e-3", "10_000", "0x1f", "~", "null", "1:30", "*.bias", "a: b", "# x", "- y"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(min_size=1, max_size=6), values, max_size=4))
def test_any_plain_arguments_come_back_as_they_were(arguments: dict[str, Any]) -> None:
    recipe = Recipe.model_validate({**BASE, "model": {"args": arguments}})
    assert loads(dump(recipe), check_paths=False).model.args == arguments
