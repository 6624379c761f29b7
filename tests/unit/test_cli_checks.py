from __future__ import annotations

import json
from pathlib import Path

import pytest

from torchkiln import cli
from torchkiln.checks import catalogue

Captured = pytest.CaptureFixture[str]


def says(capsys: Captured, *words: str) -> tuple[int, str, str]:
    code = cli.main(list(words))
    return (code, *capsys.readouterr())


def test_rules_are_listed_and_shown(capsys: Captured) -> None:
    code, out, _ = says(capsys, "rules")
    assert code == 0 and len(out.splitlines()) == len(catalogue.pages())
    assert out.startswith("E101  Gradients are never cleared\n")
    assert says(capsys, "rules", "w113")[1] == catalogue.page("W113").markdown()
    assert json.loads(says(capsys, "rules", "--json")[1])[0]["id"] == "E101"
    assert json.loads(says(capsys, "rules", "E101", "--json")[1])["tier"] == "E"


def test_an_unknown_rule_is_one_sentence(capsys: Captured) -> None:
    code, _, err = says(capsys, "rules", "E999")
    assert code == 2 and "there is no rule 'E999'" in err


def test_lint_prints_what_it_finds(capsys: Captured, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import torch\ntorch.load('x')\n")
    code, out, _ = says(capsys, "lint", str(tmp_path), "--fail-on", "D")
    assert code == 1 and "D202" in out
    assert says(capsys, "lint", str(tmp_path))[0] == 0


def test_the_schema_of_findings(capsys: Captured) -> None:
    assert json.loads(says(capsys, "schema", "findings")[1])["type"] == "array"
    assert says(capsys, "schema", "finding")[0] == 2


def test_guard_takes_a_command_and_its_own_words(capfd: Captured, tmp_path: Path) -> None:
    assert says(capfd, "guard", "--", "sh", "-c", "echo hello; exit 4")[:2] == (4, "hello\n")
    file = tmp_path / "found.json"
    assert says(capfd, "guard", "--json", str(file), "--strict", "--", "true")[0] == 0
    assert json.loads(file.read_text()) == []
    assert says(capfd, "guard", "--json", "--", "echo", "hello")[1] == "[]\n"
    code, _, err = says(capfd, "guard", "--", "no-such-command")
    assert code == 2 and "there is no command 'no-such-command'" in err
