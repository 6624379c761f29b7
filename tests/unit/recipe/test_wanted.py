from __future__ import annotations

import pytest

from torchkiln.recipe.wanted import at, describe, json_schema, keys, known_paths, words
from torchkiln.registry import task_names


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("train.epochs", "a whole number of at least 1 or null"),
        ("train.ema", "a number above 0 and below 1 or null"),
        ("data.image_size", "the word auto or a whole number from 4 to 4096"),
        ("data.split.val", "a number from 0 to below 1"),
        ("train.deterministic", "true or false"),
        ("train.precision", "one of auto, 32, tf32, bf16, 16"),
        ("model.pretrained", "true or false or text"),
        ("data.target", "text or null"),
        (
            "optimizer.betas",
            "a list of 2 (a number from 0 to below 1, a number from 0 to below 1) or null",
        ),
        ("optimizer.groups", "a list of mappings with keys such as match, lr, weight_decay"),
        ("seed", "a whole number of at least 0"),
        ("model.args.anything", "any plain value"),
    ],
)
def test_what_is_accepted_is_said_in_words(path: str, said: str) -> None:
    assert describe(at(path.split("."))) == said


def test_places_inside_lists_are_found() -> None:
    assert keys(at(("optimizer", "groups", 3))) == ["match", "lr", "weight_decay"]
    assert describe(at(("optimizer", "betas", 1))) == "a number from 0 to below 1"


def test_the_schema_names_the_tasks_and_describes_the_keys() -> None:
    schema = json_schema()
    assert schema["properties"]["task"]["enum"] == task_names()
    train = schema["$defs"]["Train"]["properties"]
    assert train["steps"]["description"].startswith("Optimizer steps")
    assert words(at(("data", "unlabelled"))) == ["stop", "drop"]


def test_short_forms_are_in_the_schema() -> None:
    for section in ("data", "model", "loss", "optimizer", "scheduler"):
        assert {"type": "string"} in json_schema()["properties"][section]["anyOf"]


def test_known_paths_reach_nested_sections() -> None:
    paths = set(known_paths())
    assert {"task", "data.split.by", "train.clip.norm", "train.early_stopping.patience"} <= paths
    assert not any(path.endswith(".match") for path in paths), "keys inside lists have no dotted path"
