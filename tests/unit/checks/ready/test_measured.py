from __future__ import annotations

import json
from pathlib import Path

import pytest

from torchkiln.checks.ready.material import Material
from torchkiln.checks.ready.measured import SAID, linted, measured
from torchkiln.training import plan_rows

RECIPE = "task: table_classification\ndata: {path: rows.csv, target: y}\n"


@pytest.mark.parametrize(
    ("decision", "state"),
    [
        ({"why": "1.3 times as fast", "candidates": [{"milliseconds": 1.0}]}, "pass"),
        ({"why": "not tried: the run is too short", "candidates": []}, "not applicable"),
        ({"why": "the recipe says so", "candidates": []}, "fail"),
        ({"why": "not measured: its 1.7 s were over", "candidates": []}, "fail"),
    ],
)
def test_a_decision_is_measured_said_or_spared(decision: dict[str, object], state: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    decided = {"what": "train.compile", "chosen": False, **decision}
    (tmp_path / "plan.json").write_text(json.dumps({"decisions": [decided]}))
    assert measured(Material(tmp_path), "train.compile").state == state
    assert measured(Material(tmp_path), "train.precision").state == "fail"


def test_lint_of_ones_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE + "model:\n  class_path: nets.Net\nloss:\n  class_path: gone.Loss\n")
    (tmp_path / "nets.py").write_text("import torch\ntorch.load('x')\n")
    found, missing = linted(Material(tmp_path), ("D",))
    assert [one.rule for one in found] == ["D202"] and missing == ["gone.Loss"]
    assert linted(Material(tmp_path), ("E",))[0] == []


def test_the_plan_says_so_in_these_words() -> None:
    assert plan_rows.SAID == SAID
