from __future__ import annotations

from typing import Any

import pytest

from torchkiln.recipe.overriding import apply
from torchkiln.recipe.yaml_text import Path


def changed(tree: dict[str, Any], *overrides: str) -> dict[str, Any]:
    assert apply(tree, overrides, {}) == []
    return tree


def test_a_dotted_path_reaches_down_and_makes_what_is_missing() -> None:
    assert changed({}, "train.clip.norm=1") == {"train": {"clip": {"norm": "1"}}}


def test_lists_by_position_and_one_beyond_the_end() -> None:
    tree = changed(
        {"optimizer": {"groups": [{"match": "a", "lr": 1}]}},
        "optimizer.groups.0.lr=1e-4",
        "optimizer.groups.1.match=*.bias",
    )
    assert tree == {"optimizer": {"groups": [{"match": "a", "lr": "1e-4"}, {"match": "*.bias"}]}}


def test_a_list_is_made_where_the_schema_wants_one_and_numbers_name_columns_elsewhere() -> None:
    assert changed({}, "optimizer.groups.0.match=x") == {"optimizer": {"groups": [{"match": "x"}]}}
    assert changed({}, "data.columns.2020=drop") == {"data": {"columns": {"2020": "drop"}}}


def test_values_are_yaml_only_where_they_look_like_it() -> None:
    tree = changed({}, "a=[1, {b: 2}]", "b='quoted'", "c=x: y", "d=p #1", "e=x=y")
    assert tree == {"a": ["1", {"b": "2"}], "b": "quoted", "c": "x: y", "d": "p #1", "e": "x=y"}


def test_a_mapping_changes_what_it_names() -> None:
    tree: dict[str, Any] = {"train": {"epochs": 3, "clip": {"norm": 1}}}
    assert changed(tree, "train={clip: {value: 2}}") == {"train": {"epochs": 3, "clip": {"norm": 1, "value": "2"}}}


def test_a_word_for_a_section_stands_for_a_new_part() -> None:
    tree: dict[str, Any] = {
        "model": {"name": "tabm", "args": {"k": 3}},
        "optimizer": {"name": "sgd", "lr": 1},
    }
    changed(tree, "model=mlp", "optimizer=sgd")
    assert tree == {"model": {"name": "mlp"}, "optimizer": {"name": "sgd", "lr": 1}}


def test_a_word_for_data_keeps_what_else_is_said_of_it() -> None:
    assert changed({"data": {"path": "a", "target": "y"}}, "data=b") == {"data": {"path": "b", "target": "y"}}


def test_python_values_by_mapping() -> None:
    tree: dict[str, Any] = {"train": {"epochs": 3}}
    assert apply(tree, {"train.epochs": 5, "optimizer": {"lr": 0.1}}, {}) == []
    assert tree == {"train": {"epochs": 5}, "optimizer": {"lr": 0.1}}


def test_null_gives_way_to_keys_below_it() -> None:
    tree = {"train": {"early_stopping": None}}
    assert changed(tree, "train.early_stopping.patience=3") == {"train": {"early_stopping": {"patience": "3"}}}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("epochs", "'epochs' is no override; write key=value"),
        ("=3", "is no override"),
        ("train.epochs=", "write train.epochs=null"),
        ("train..epochs=3", "'train..epochs' is no key"),
        ("train.epochs.x=3", "train.epochs holds '5', which has no keys of its own"),
        ("optimizer.groups.x.lr=1", "'x' is no position in a list of 1"),
        ("optimizer.groups.7.lr=1", "there is no entry 7 in a list of 1; the next to add is 1"),
        ("train={epochs: 3", "the value is no YAML"),
    ],
)
def test_what_cannot_be_applied_is_said(override: str, said: str) -> None:
    tree: dict[str, Any] = {"train": {"epochs": 5}, "optimizer": {"groups": [{"match": "a"}]}}
    faults = apply(tree, [override, "seed=1"], {})
    assert len(faults) == 1
    assert said in faults[0]
    assert tree["seed"] == "1", "the others are applied all the same"


def test_the_origin_of_an_override_is_kept() -> None:
    origins: dict[Path, str] = {}
    apply({}, ["optimizer.groups.0.lr=1"], origins)
    assert origins == {("optimizer", "groups", 0, "lr"): "given as optimizer.groups.0.lr=1"}
