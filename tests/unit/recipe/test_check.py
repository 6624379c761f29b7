from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from torchkiln.recipe.check import check
from torchkiln.recipe.schema import Recipe
from torchkiln.recipe.yaml_text import Plain, parse

BASE = "task: table_classification\ndata: {path: rows.csv}\n"


def read(text: str) -> tuple[Recipe | None, list[str]]:
    document = parse(BASE + text)
    return check(document.value, document.origins)


def good(text: str) -> Recipe:
    recipe, faults = read(text)
    assert faults == []
    assert recipe is not None
    return recipe


def test_the_schema_says_what_an_unquoted_word_means() -> None:
    recipe = good(
        "optimizer: {name: sgd, lr: 1e-3, nesterov: no}\ntrain: {compile: off, precision: 16}\n"
        "model: {pretrained: no, args: {k: 16, rate: 1e-4, deep: true, name: x}}\n"
    )
    assert recipe.optimizer.lr == 0.001
    assert recipe.optimizer.nesterov is False
    assert recipe.train.compile is False
    assert recipe.train.precision == "16"
    assert recipe.model.pretrained is False
    assert recipe.model.args == {"k": 16, "rate": 0.0001, "deep": True, "name": "x"}
    assert [type(v) for v in recipe.model.args.values()] == [int, float, bool, str]


@pytest.mark.parametrize("word", ["no", "2020", "1e5", "007", "2020-01-01", "1:30", "true", "Null1"])
def test_a_column_may_have_any_name_without_quotes(word: str) -> None:
    document = parse(f"task: table_regression\ndata: {{path: x, target: {word}, columns: {{{word}: drop}}}}")
    recipe, faults = check(document.value, document.origins)
    assert faults == []
    assert recipe is not None
    assert (recipe.data.target, recipe.data.columns) == (word, {word: "drop"})


def test_a_key_with_nothing_behind_it_is_as_if_not_written_and_null_is_null() -> None:
    recipe = good("train:\n  clip:\n  ema: null\n  epochs:\n")
    assert recipe.train.model_fields_set == {"ema"}


def test_yes_and_no_in_free_arguments_must_be_made_clear() -> None:
    _, faults = read("model: {args: {bias: no, words: ['no'], flag: false}}")
    assert faults == [
        "model.args.bias (line 3): found no, which some read as false and some as a word: write false, or "
        "'no' in quotes"
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("train: {epoch: 3}", "train.epoch (line 3): unknown key; did you mean epochs?"),
        ("optimizer: {learning_rat: 3}", "optimizer.learning_rat (line 3): unknown key; did you mean lr?"),
        ("lr: 3", "lr (line 3): unknown key; did you mean optimizer.lr?"),
        ("train.epochs: 3", "train.epochs (line 3): unknown key; nest it: train: {epochs: ...}"),
        (
            "loss: {zzz: 3}",
            "loss.zzz (line 3): unknown key; known here are name, class_path, init_args, label_smoothing, "
            "class_weights, margin, beta",
        ),
        (
            "train: {epochs: many}",
            "train.epochs (line 3): found 'many', accepted is a whole number of at least 1 or null",
        ),
        (
            "train: {epochs: true}",
            "train.epochs (line 3): found true, accepted is a whole number of at least 1 or null",
        ),
        (
            "train: {epochs: 2.5}",
            "train.epochs (line 3): found 2.5, accepted is a whole number of at least 1 or null",
        ),
        ("optimizer: {lr: .inf}", "optimizer.lr (line 3): found inf, accepted is a number above 0 or null"),
        (
            "scheduler: {name: off}",
            "scheduler.name (line 3): found 'off', accepted is one of auto, cosine, linear, one_cycle, step, "
            "plateau, constant or null; did you mean constant?",
        ),
        (
            "optimizer: {betas: [0.9]}",
            "optimizer.betas (line 3): found a list of 1, accepted is a list of 2 (a number from 0 to below "
            "1, a number from 0 to below 1) or null",
        ),
        (
            "optimizer: {groups: [{lr: 1}]}",
            "optimizer.groups.0.match (line 3): is missing; accepted is text",
        ),
        ("train: {max_time: 5x}", "train.max_time (line 3): '5x' is no time; write 90s, 10m or 2h"),
        ("train: {clip: {norm: 1, value: 1}}", "train.clip (line 3): clip by norm or by value, not both"),
        (
            "data2: {}\n",
            "data2 (line 3): unknown key; did you mean data?",
        ),
        (
            "train: [1]",
            "train (line 3): found a list of 1, accepted is a mapping with keys such as epochs, steps, "
            "max_time, batch_size",
        ),
        (
            "data.augment: x\nseed: -1",
            "seed (line 4): found -1, accepted is a whole number of at least 0",
        ),
    ],
)
def test_a_fault_is_one_sentence(text: str, fault: str) -> None:
    recipe, faults = read(text)
    assert recipe is None
    assert fault in faults


def test_all_faults_come_at_once() -> None:
    _, faults = read("epochs: 3\noptimizer: {lr: -1, name: sgdd}\ntrain: {batch: 4}\nmodel: {head: 3}\n")
    assert [f.split(" ")[0] for f in faults] == [
        "model.head",
        "optimizer.name",
        "optimizer.lr",
        "train.batch",
        "epochs",
    ]


def test_an_unknown_key_does_not_hide_how_the_others_fit_together() -> None:
    _, faults = read("optimizer: {name: sgd, betas: [0.9, 0.99], zzz: 1}\n")
    assert len(faults) == 2
    assert faults[1] == "optimizer (line 3): betas belong to adam and adamw; sgd has momentum"


def test_a_misspelt_key_counts_as_the_right_one_when_the_others_are_looked_at() -> None:
    document = parse("task: table_regression\ndata: {trian: a.csv, val: b.csv}")
    _, faults = check(document.value, document.origins)
    assert faults == ["data.trian (line 2): unknown key; did you mean train?"]


def test_of_a_choice_of_forms_only_the_one_that_was_tried_is_told() -> None:
    _, faults = read("model: {unfreeze: [{epoch: 1}]}")
    document = parse("task: table_regression\ndata: {path: x, augment: [{size: 3}, {name: Flip}]}")
    _, augment = check(document.value, document.origins)
    assert faults == ["model.unfreeze.0.match (line 3): is missing; accepted is text"]
    assert augment == ["data.augment.0.name (line 2): is missing; accepted is text"]


def test_what_is_needed_and_missing() -> None:
    _, faults = check({}, {})
    assert [f.partition(";")[0] for f in faults] == ["task: is missing", "data: is missing"]


def test_an_unknown_task_gets_the_nearest() -> None:
    _, faults = check({"task": "table_regresion", "data": {"path": "x"}}, {})
    assert faults[0].startswith("task: unknown task 'table_regresion': did you mean 'table_regression'?")


def test_python_values_become_plain_ones() -> None:
    tree: dict[str, Any] = {
        "task": "table_regression",
        "data": {"path": "x"},
        "model": {"args": {"k": np.int64(3), "rates": (np.float64(0.5), 1)}},
    }
    recipe, faults = check(tree, {})
    assert faults == []
    assert recipe is not None
    assert recipe.model.args == {"k": 3, "rates": [0.5, 1]}
    assert type(recipe.model.args["k"]) is int


def test_an_object_is_refused() -> None:
    tree = {"task": "table_regression", "data": {"path": "x"}, "model": {"args": {"f": len}}}
    _, faults = check(tree, {})
    assert faults[0].startswith("model.args.f: holds a value of type builtin_function_or_method; a recipe")


def test_quoted_text_stays_text() -> None:
    recipe, faults = check({"task": "table_regression", "data": {"path": Plain("x"), "target": "5"}}, {})
    assert faults == []
    assert recipe is not None
    assert recipe.data.target == "5"
