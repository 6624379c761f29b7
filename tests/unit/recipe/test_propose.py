from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest

from torchkiln.data.facts import gather
from torchkiln.data.sources import look
from torchkiln.errors import RecipeError
from torchkiln.recipe.load import loads
from torchkiln.recipe.propose import Column, Facts, find_target, is_class, is_text, propose, scalar
from torchkiln.recipe.schema import Recipe


def number(name: str, distinct: int = 900, whole: bool = False, rows: int = 1000, missing: int = 0) -> Column:
    return Column(name, "number", distinct, missing, rows, whole=whole)


def words(name: str, distinct: int = 3, rows: int = 1000, missing: int = 0) -> Column:
    return Column(name, "words", distinct, missing, rows, words=1.0)


def text(name: str, mean: float = 20.0, rows: int = 1000) -> Column:
    return Column(name, "text", rows, 0, rows, words=mean)


def facts(*columns: Column, kind: Literal["images", "table", "text"] = "table", **more: Any) -> Facts:
    return Facts("data/x.csv", kind, columns, **more)


def read(proposal: str) -> Recipe:
    return loads(proposal, check_paths=False)


def uncommented(proposal: str) -> str:
    """The proposal with the settings at its end taken in."""
    head, settings = proposal.split("\n# seed", 1)
    return head + "\n" + re.sub(r"^# ", "", "# seed" + settings, flags=re.MULTILINE)


PICTURES = facts(Column("image", "pictures", 9, 0, 9), words("label", rows=9), kind="images")
TEXTS = facts(text("body"), words("topic"), kind="text")
CLASSES = facts(number("a"), words("label"))
NUMBERS = facts(number("price"), number("a"))


@pytest.mark.parametrize(
    ("given", "task"),
    [
        (PICTURES, "image_classification"),
        (TEXTS, "text_classification"),
        (CLASSES, "table_classification"),
        (NUMBERS, "table_regression"),
    ],
)
def test_the_settings_shown_are_the_defaults(given: Facts, task: str) -> None:
    proposal = propose(given)
    assert f"\ntask: {task}  #" in proposal
    whole = uncommented(proposal)
    assert "\ntrain:\n  epochs: null" in whole
    assert read(whole) == read(proposal)


def test_the_nets_that_are_named_are_there() -> None:
    from torchkiln.models import images, tables
    from torchkiln.models import text as texts

    def named(given: Facts) -> set[str]:
        found = re.search(r"name: null  # (.*); or in its place", propose(given))
        assert found
        return set(re.split(r",? \.\.\.,? |, ", found[1]))

    assert named(CLASSES) == named(NUMBERS) == set(tables.NETS)
    assert named(TEXTS) == {texts.BAG, texts.TRANSFORMER, f"{texts.HUGGING_FACE}NAME"}
    assert named(PICTURES) == {images.OWN, "resnet18", "mobilenet_v3_small", "timm:NAME"}


@pytest.mark.parametrize(
    ("columns", "target"),
    [
        ([words("class"), number("a"), words("last")], "class"),
        ([number("a"), number("SalePrice"), words("last")], "SalePrice"),
        ([words("kind_label"), number("a"), number("b")], "kind_label"),
        ([words("survived", 2), words("class"), number("a")], "survived"),
        ([number("a"), words("b", 400), words("last", 3)], "last"),
        ([number("a"), number("b"), number("grade", 4, whole=True)], "grade"),
        ([words("first", 3), number("a"), number("b")], "first"),
        ([words("label", 1), number("a"), words("last")], "last"),
    ],
)
def test_the_target_is_guessed(columns: list[Column], target: str) -> None:
    found = find_target(facts(*columns))
    assert found.column.name == target
    assert "guessed" in found.reason
    assert f"target: {target}  # guessed" in propose(facts(*columns))
    assert "--target COLUMN" in propose(facts(*columns))


def test_the_column_that_the_test_lacks_is_the_target() -> None:
    assert find_target(facts(words("label"), words("b"), without="b")).column.name == "b"


def test_a_target_that_cannot_be_told() -> None:
    with pytest.raises(RecipeError) as caught:
        propose(facts(number("a"), number("b"), words("id", 1000)))
    for word in ("data/x.csv", "torchkiln init data/x.csv --target COLUMN", "a, b, id"):
        assert word in str(caught.value)


def test_a_target_that_the_person_names() -> None:
    assert read(propose(facts(words("label"), number("a")), "a")).data.target == "a"
    with pytest.raises(RecipeError, match="no column 'lable' to predict: did you mean 'label'"):
        propose(facts(words("label"), number("a")), "lable")


@pytest.mark.parametrize(
    ("column", "classes"),
    [
        (words("y", 300), True),
        (number("y", 2, whole=True, rows=12), True),
        (number("y", 10, whole=True), True),
        (number("y", 10, whole=True, rows=60), False),
        (number("y", 29, whole=True), False),
        (number("y", 3), False),
        (Column("y", "date", 9, 0, 99), True),
    ],
)
def test_classes_or_amounts(column: Column, classes: bool) -> None:
    assert is_class(column) == classes


def test_what_to_write_for_the_other_kind_is_said() -> None:
    assert "if they are amounts: table_regression" in propose(facts(number("a"), number("y", 9, whole=True)))
    assert "if they are classes: table_classification" in propose(facts(words("a"), number("y", 90, whole=True)))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([text("sentence"), words("label")], True),
        ([text("x", 6.0), words("label")], True),
        ([words("text", 900), words("label")], True),
        ([words("id", 1000), text("x"), words("label")], True),
        ([words("source"), text("review"), words("label")], True),
        ([text("name", 4.5), words("sex"), number("age"), words("survived")], False),
        ([words("source"), text("name", 4.5), words("label")], False),
        ([words("color"), words("label")], False),
        ([text("review"), number("price")], False),
        ([number("a"), number("b"), number("c"), text("review"), words("label")], False),
    ],
)
def test_text_or_table(columns: list[Column], expected: bool) -> None:
    assert is_text(facts(*columns)) == expected


@pytest.mark.parametrize(
    ("columns", "by", "column"),
    [
        ([number("a"), words("label")], "stratified", None),
        ([number("a"), number("price")], "random", None),
        ([words("patient_id", 100), words("label")], "group", "patient_id"),
        ([words("patientId", 100), number("price")], "group", "patientId"),
        ([words("patient_id", 1000), words("label")], "stratified", None),
        ([Column("day", "date", 300, 0, 1000), words("label")], "time", "day"),
        ([Column("day", "date", 300, 600, 1000), words("label")], "stratified", None),
        ([Column("day", "date", 300, 0, 1000), words("user", 50), words("label")], "group", "user"),
    ],
)
def test_a_split_is_proposed_with_its_reason(columns: list[Column], by: str, column: str | None) -> None:
    proposal = propose(facts(*columns))
    split = read(proposal).data.split
    assert (split.by, split.column) == (by, column)
    assert re.search(r"\n  split:  # \w+", proposal)


def test_only_the_missing_parts_are_made() -> None:
    proposal = propose(facts(*CLASSES.columns, splits=["train", "test"]))
    assert "train and test as given; val is taken from train" in proposal
    assert "val: 0.15" in proposal
    assert "test: 0.15" not in proposal
    assert "split:" not in propose(facts(*CLASSES.columns, splits=["train", "val", "test"]))


def test_rows_without_a_label_are_dropped_with_a_word() -> None:
    proposal = propose(facts(number("a"), words("label", missing=7)))
    assert read(proposal).data.unlabelled == "drop"
    assert "7 rows have no label" in proposal
    assert read(propose(CLASSES)).data.unlabelled == "stop"


@pytest.mark.parametrize("name", ["no", "2020", "a: b", "#1", "null", "größe", "it's", '"q"', " x ", "*", "a\nb"])
def test_strange_names_come_back(name: str) -> None:
    given = facts(words("patient", 40), words(name), number("a"))
    assert read(propose(given, name)).data.target == name
    assert "\n" not in scalar(name)


def test_what_is_proposed_can_be_read_by_every_shipped_reader(tmp_path: Path) -> None:
    """From a file to a recipe, with a path that needs quotes."""
    path = tmp_path / "my: data #1.csv"
    pl.DataFrame({"a": range(50), "label": ["x", "y"] * 25}).write_csv(path)
    recipe = read(propose(gather(look(path), str(path))))
    assert (recipe.data.path, recipe.data.target, recipe.task) == (str(path), "label", "table_classification")


REAL = {
    "adult": ("table_classification", "income", "stratified"),
    "california_housing": ("table_regression", "median_house_value", "random"),
    "titanic": ("table_classification", "Survived", "stratified"),
    "titanic/titanic.csv": ("table_classification", "Survived", "stratified"),
    "segment": ("table_classification", "class", "stratified"),
    "penguins": ("table_classification", "species", "stratified"),
    "sst2": ("text_classification", "label", None),
    "sst2/train.tsv": ("text_classification", "label", "stratified"),
    "banking77": ("text_classification", "category", "stratified"),
    "cifar10": ("image_classification", "label", "stratified"),
    "cifar10/train.parquet": ("image_classification", "label", "stratified"),
    "hymenoptera": ("image_classification", "label", "stratified"),
}


@pytest.mark.skipif("TORCHKILN_DATA" not in os.environ, reason="TORCHKILN_DATA names no folder of data sets")
@pytest.mark.parametrize("name", REAL)
def test_real_sets(name: str) -> None:
    path = Path(os.environ["TORCHKILN_DATA"]) / name
    proposal = propose(gather(look(path), str(path)))
    task, target, by = REAL[name]
    assert f"\ntask: {task}  #" in proposal
    assert f"\n  target: {target}" in proposal
    assert (f"\n    by: {by}" in proposal) if by else ("by:" not in proposal)
    if name.startswith("sst2"):
        assert "\n  text: sentence\n" in proposal
