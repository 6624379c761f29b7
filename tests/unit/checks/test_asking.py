from __future__ import annotations

from pathlib import Path

import pytest

import torchkiln
from torchkiln.checks import asking
from torchkiln.errors import RecipeError


def test_lint_is_a_list_of_findings(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("import torch\ntorch.load('x')\n")
    found = torchkiln.lint(file)
    assert [f.rule for f in found] == ["D202"] and found.faults == []
    assert torchkiln.lint([file], ignore=["D"]) == []
    assert torchkiln.lint(file, unsafe_fixes=True).notes == ["1 mended in 1 files"]
    assert "weights_only=True" in file.read_text()


def test_rules_and_their_pages() -> None:
    assert asking.rule("E101") == asking.rules()[0]


def test_schemas_by_name() -> None:
    assert torchkiln.schema("findings")["type"] == "array" and torchkiln.schema()["type"] == "object"
    with pytest.raises(RecipeError, match="did you mean 'findings'"):
        torchkiln.schema("finding")


def test_a_diagnosis_of_an_exception_or_a_log(tmp_path: Path) -> None:
    file = tmp_path / "train.log"
    file.write_text("IndexError: Target 3 is out of bounds.\n")
    for what in (file, IndexError("Target 3 is out of bounds.")):
        assert [one.rule for one in asking.diagnose(what).findings] == ["X401"]
