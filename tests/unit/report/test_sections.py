from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from torchkiln.report import sections
from torchkiln.report.material import Material, read

Made = Callable[[str], Path]


def material(**files: Any) -> Material:
    return Material(Path("r"), **files)


def rates(steps: list[float], lr: list[float]) -> pl.DataFrame:
    return pl.DataFrame({"step": [float(s) for s in steps], "lr": lr})


def test_curves_of_a_whole_run(made: Made) -> None:
    found = sections.curves(read(made("images")))
    assert found is not None
    assert [f["title"] for f in found["figures"]] == [
        "Loss",
        "Validation accuracy",
        "Validation macro F1",
        "Learning rate",
        "Gradient norm",
    ]
    assert found["best"] == "The best epoch was 24 (counted from 0)."
    assert found["deviation"] == "The learning rate went as planned."
    assert found["lost"] == ""


def test_curves_of_nothing_are_none() -> None:
    assert sections.curves(material()) is None
    assert sections.curves(material(metrics=pl.DataFrame({"epoch": [], "train_loss": []}))) is None


def test_a_run_without_a_test_marks_the_lowest_validation_loss() -> None:
    frame = pl.DataFrame({"epoch": [1.0, 2.0, 3.0], "val_loss": [2.0, 1.0, math.nan]})
    found = sections.curves(material(metrics=frame))
    assert found is not None
    assert found["best"] == "The lowest validation loss was in epoch 2."
    assert found["lost"] == "Not finite: the validation loss in 1 epoch (first in epoch 3)."


def test_a_rate_that_left_its_plan_is_told() -> None:
    planned = rates(list(range(0, 100, 10)), [1 - s / 100 for s in range(0, 100, 10)])
    kept = rates([5, 55, 89], [0.95, 0.45, 0.11])
    found = sections.curves(material(schedule=planned, steps=kept))
    assert found is not None
    assert found["deviation"] == "The learning rate went as planned."
    left = rates([5, 55, 89], [0.95, 0.8, 0.11])
    found = sections.curves(material(schedule=planned, steps=left))
    assert found is not None
    assert found["deviation"].startswith("The learning rate left its plan: at step 55 it was 0.800, not 0.4")


def test_of_several_groups_the_one_without_a_rate_of_its_own_is_held_to_the_plan() -> None:
    planned = rates([0, 10, 20], [1.0, 0.5, 0.0])
    went = rates([0, 10, 20], [5.0, 2.5, 0.0]).with_columns(
        pl.Series("lr_1", [1.0, 0.5, 0.0]), pl.Series("lr_2", [1.0, 0.5, 0.0])
    )
    found = sections.curves(material(schedule=planned, steps=went))
    assert found is not None
    assert found["deviation"] == "The learning rate went as planned."
    names = [name for name, _ in found["figures"][0]["legend"]]
    assert names == ["as planned", "as it went, group 0", "as it went"]


def test_a_jump_in_the_plan_is_no_deviation() -> None:
    planned = rates(list(range(100)), [1.0] * 50 + [0.1] * 50)
    went = rates([48, 49, 50, 51], [1.0, 1.0, 1.0, 0.1])
    found = sections.curves(material(schedule=planned, steps=went))
    assert found is not None
    assert found["deviation"] == "The learning rate went as planned."


def test_epochs_without_validation_leave_no_gap() -> None:
    frame = pl.DataFrame({"epoch": [0.0, 1.0, 2.0], "val_loss": [3.0, None, 1.0]})
    one = sections.series(frame, "epoch", "val_loss", "validation", "ours")
    assert (one.x.tolist(), one.y.tolist()) == ([0, 2], [3, 1])
    assert sections.series(frame, "epoch", "nothing", "n", "ours").y.size == 0


def test_the_table_of_epochs_joins_the_timings_of_the_last_life() -> None:
    metrics = pl.DataFrame({"epoch": [0.0, 1.0], "val_loss": [0.5, None], "lr": [0.001, 0.0005]})
    timings = pl.DataFrame({"epoch": [0.0, 1.0, 1.0], "seconds": [9.0, 8.0, 7.0], "memory_mb": [100.0] * 3})
    found = sections.epochs(material(metrics=metrics, timings=timings, test={"best_epoch": 1}))
    assert found is not None
    assert found["columns"] == ["epoch", "val loss", "learning rate", "seconds", "memory, MB"]
    assert [r["cells"] for r in found["rows"]] == [
        ["0", "0.5000", "0.001000", "9.00", "100"],
        ["1", "\N{EN DASH}", "0.0005000", "7.00", "100"],
    ]
    assert [r["best"] for r in found["rows"]] == [False, True]
    assert sections.epochs(material()) is None


def test_findings_stand_by_level_the_gravest_first() -> None:
    events = [
        {"kind": "finding", "level": level, "text": level, "samples": [str(i) for i in range(8)]}
        for level in ("note", "warn", "stop", "warn")
    ]
    found = sections.data(material(events=[*events, {"kind": "warning", "level": "warn", "text": "other"}]))
    assert [(one["level"], len(one["items"])) for one in found["levels"]] == [
        ("stop", 1),
        ("warn", 2),
        ("note", 1),
    ]
    item = found["levels"][0]["items"][0]
    assert (item["samples"], item["more"]) == (["0", "1", "2", "3", "4"], 3)
    assert sections.data(material())["checked"] is False


def test_label_counts_are_of_all_splits_where_the_files_hold_them() -> None:
    splits = pl.DataFrame(
        {"key": list("abcd"), "split": ["train", "train", "train", "test"], "target": ["x", "y", "y", "x"]}
    )
    known = {"classes": ["x", "y", "z"]}
    labels = sections.data(material(splits=splits, test=known))["labels"]
    assert labels["splits"] == ["train", "test"]
    assert [(row["name"], row["counts"]) for row in labels["rows"]] == [
        ("y", [2, 0]),
        ("x", [1, 1]),
        ("z", [0, 0]),
    ]


def test_label_counts_are_those_of_the_test_where_the_splits_hold_none() -> None:
    splits = pl.DataFrame({"key": ["a"], "split": ["train"]})
    predicted = pl.DataFrame({"target": ["1", "2", "2"], "prediction": ["1", "1", "1"]})
    codec = {"target": {"classes": ["1", "2"]}}
    labels = sections.data(material(splits=splits, predictions=predicted, codec=codec))["labels"]
    assert labels["splits"] == ["test"]
    assert [row["counts"] for row in labels["rows"]] == [[2], [1]]
    assert sections.data(material(splits=splits, codec=codec))["labels"] is None


def test_a_plan_shows_candidates_and_the_chosen_one() -> None:
    candidates = [
        {"value": 32, "milliseconds": 40.0, "note": ""},
        {"value": "bf16", "milliseconds": None, "note": "no"},
    ]
    decisions = [{"what": "precision", "chosen": "32", "why": "fastest", "candidates": candidates}]
    found = sections.plan(material(plan={"decisions": decisions, "seconds": 2.5}))
    assert found is not None
    rows = found["decisions"][0]["rows"]
    assert [(r["value"], r["chosen"], r["took"]) for r in rows] == [
        ("32", True, "40.0"),
        ("bf16", False, "\N{EN DASH}"),
    ]
    assert sections.plan(material()) is None
    assert sections.plan(material(plan={})) == {"decisions": [], "said": [], "seconds": None}
    whole = {"decisions": [{"what": "train.micro_batch", "chosen": None}], "compiled": {"graphs": 1, "graph_breaks": 0},
             "measured": {"at": "then", "load": 1.0, "cached": True}}  # fmt: skip
    found = sections.plan(material(plan=whole))
    assert found is not None and found["decisions"][0]["chosen"] == "whole"
    assert found["said"] == ["Measured by an earlier run, then, at a load of 1; torchkiln plan --anew measures again.",
                             "Compiling in the run: graphs 1, graph breaks 0."]  # fmt: skip


def test_the_environment_says_what_is_known_and_no_more() -> None:
    env = {
        "device": {"type": "cuda", "name": "H200", "count": 2},
        "precision": {"mode": "bf16", "kept_fp32": []},
        "versions": {"python": "3.11", "cuda": None},
        "git": {"commit": "abc", "changed": False},
        "total_seconds": math.nan,
        "parameters": 1234,
    }
    found = sections.environment(material(environment=env))
    assert found is not None
    said = {key: value for _, pairs in found["groups"] for key, value in pairs}
    assert said == {
        "device": "cuda H200",
        "devices": "2",
        "precision": "bf16",
        "operations kept in FP32": "none listed",
        "parameters": "1,234",
        "python": "3.11",
        "git commit": "abc",
        "git changed": "no",
    }
    assert sections.environment(material()) is None


@pytest.mark.parametrize("number", [3, sections.MOST_EVENTS + 7])
def test_the_last_events_are_shown(number: int) -> None:
    found = sections.events(material(events=[{"kind": "resume", "text": str(i)} for i in range(number)]))
    assert found is not None
    assert found["rows"][-1]["text"] == str(number - 1)
    assert found["left_out"] == max(0, number - sections.MOST_EVENTS)
    assert sections.events(material()) is None


def test_a_wide_loss_has_a_logarithmic_axis() -> None:
    frame = pl.DataFrame({"epoch": np.arange(5.0), "train_loss": [100.0, 10.0, 1.0, 0.1, 0.01]})
    found = sections.curves(material(metrics=frame))
    assert found is not None
    assert "log scale" in found["figures"][0]["plot"]


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"not_bitwise": []}, ["holds"]),
        ({"not_bitwise": ["torch was 1 and is 2", "b"]}, ["not bitwise: torch was 1 and is 2; b"]),
        ({}, []),
    ],
)
def test_whether_a_resume_is_exact_is_said_with_the_reasons(known: dict[str, Any], said: list[str]) -> None:
    found = sections.environment(material(environment={"data_digest": "0", **known}))
    assert found is not None
    pairs = dict(found["groups"])["Data and code"]
    assert [value for name, value in pairs if name == "exact resume"] == said
