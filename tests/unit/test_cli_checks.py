from __future__ import annotations

import json
import sys
from pathlib import Path

import jsonschema
import pytest

from torchkiln import cli
from torchkiln.checks import catalogue
from torchkiln.checks.finding import json_schema

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


LOG = """Traceback (most recent call last):
  File "train.py", line 9, in step
    loss = criterion(out, y)
IndexError: Target 10 is out of bounds.
"""


def test_a_log_is_diagnosed(capsys: Captured, tmp_path: Path) -> None:
    file = tmp_path / "train.log"
    file.write_text(LOG)
    code, out, _ = says(capsys, "diagnose", str(file))
    assert code == 0 and out.startswith("X401 ") and "where: train.py:9" in out
    assert "the target 10 is no class of the output in `loss = criterion(out, y)`" in out
    found = json.loads(says(capsys, "diagnose", str(file), "--json")[1])
    jsonschema.validate(found, json_schema())
    assert found[0]["rule"] == "X401" and found[0]["state"] == "FAIL"


def test_what_is_not_known_is_no_finding(capsys: Captured, tmp_path: Path) -> None:
    file = tmp_path / "train.log"
    file.write_text("KeyError: 'a'\n")
    assert says(capsys, "diagnose", str(file))[1] == "not known: KeyError: 'a'\n"
    assert says(capsys, "diagnose", str(file), "--json")[1] == "[]\n"


def test_a_program_is_run_and_diagnosed(capfd: Captured, tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_text("import sys\nprint(sys.argv[1:])\nraise IndexError('Target 10 is out of bounds.')\n")
    code, out, err = says(capfd, "diagnose", "--", sys.executable, str(file), "--json", "--debug")
    assert code == 1 and out == "['--json', '--debug']\n" and "X401 " in err
    code, out, err = says(capfd, "diagnose", "--json", "--", sys.executable, str(file), "--lr", "1")
    assert code == 1 and json.loads(out)[0]["line"] == 3 and "['--lr', '1']" in err
    assert says(capfd, "diagnose", "--json", "--", sys.executable, "-c", "pass")[:2] == (0, "[]\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["diagnose"], "takes a log or a command"),
        (["diagnose", "a.log", "--", "python"], "takes a log or a command"),
        (["diagnose", "--"], "takes a log or a command"),
        (["diagnose", "no-such.log"], "no-such.log: no such file"),
        (["diagnose", "."], "is a folder"),
        (["diagnose", "--", "no-such-program"], "cannot be started"),
    ],
)
def test_bad_input_of_diagnose_is_one_sentence(words: list[str], said: str, capsys: Captured) -> None:
    code, _, err = says(capsys, *words)
    assert code == 2 and said in err and err.count("\n") == 1


@pytest.fixture
def run(tmp_path: Path) -> str:
    """A run of which nothing is known but its recipe."""
    (tmp_path / "recipe.yaml").write_text("task: table_classification\ndata: {path: rows.csv, target: y}\n")
    return str(tmp_path)


def test_the_checklist_of_a_run(capsys: Captured, run: str) -> None:
    code, out, _ = says(capsys, "ready", run)
    assert code == 0 and "FAIL           C105 Exported, and proven equal: there is no bundle" in out
    assert f"make it: torchkiln export {run}" in out
    assert says(capsys, "ready", run, "--fail-on", "C105")[0] == 1
    assert says(capsys, "ready", run, "--waive", "C105=served elsewhere", "--fail-on", "C105")[0] == 0
    found = json.loads(says(capsys, "ready", run, "--json")[1])
    jsonschema.validate(found, json_schema())
    assert {one["rule"]: one["state"] for one in found}["C105"] == "WARN"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--waive", "C105"], "--waive takes an item and a reason"),
        (["--waive", "C999=x"], "there is no item 'C999'"),
        (["--fail-on", "E"], "there is no item 'E'"),
    ],
)
def test_bad_input_of_ready_is_one_sentence(words: list[str], said: str, capsys: Captured, run: str) -> None:
    code, _, err = says(capsys, "ready", run, *words)
    assert code == 2 and said in err and err.count("\n") == 1
