"""A command that stands in for a program with torch writes what a watched one would; a real one is in tests/e2e."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from torchkiln.checks.finding import Finding
from torchkiln.checks.guard import launch
from torchkiln.checks.guard.hook import FOLDER
from torchkiln.errors import InputError

Captured = pytest.CaptureFixture[str]
FINDING = Finding(rule="R504", title="t", message="m", why="w", fix="f", state="FAIL", step=1, file="x.py", line=3)


def program(tmp_path: Path, *lines: dict[str, object], ends: str = "sys.exit(3)") -> list[str]:
    """A command whose processes write these lines."""
    file = tmp_path / "x.py"
    text = "\n".join(json.dumps(line) for line in lines) + "\n"
    file.write_text(
        f"import os, sys\nopen(os.path.join(os.environ[{FOLDER!r}], '1.jsonl'), 'w').write({text!r})\n"
        f"print('hello', sys.argv[1:])\nsys.stdout.flush()\n{ends}\n"
    )
    return [sys.executable, str(file)]


def test_findings_and_the_exit_code_come_back(tmp_path: Path) -> None:
    line = {"finding": FINDING.as_json()}
    command = program(tmp_path, {"begun": True}, line, line, {"end": {"steps": 5, "rules_left_out": ["on_x: E: y"]}})
    told: list[Finding] = []
    found = launch.watch(command, told.append, stdout=subprocess.DEVNULL)
    assert (found.code, found.steps, found.processes) == (3, 5, 1)
    assert found.findings == told == [FINDING]
    assert "on_x: E: y" in found.faults[0]
    assert launch.summary(found) == "1 FAIL in 5 steps"


def test_a_signal_is_told_as_a_shell_does(tmp_path: Path) -> None:
    command = program(tmp_path, {"begun": True}, ends="os.kill(os.getpid(), 9)")
    assert launch.watch(command, lambda f: None, stdout=subprocess.DEVNULL).code == 137


def test_processes_that_differ_are_named(tmp_path: Path) -> None:
    notes = [{"note": {"rank": rank, "step": 3, "sum": str(rank)}} for rank in (0, 1)]
    found = launch.watch(program(tmp_path, *notes), lambda f: None, stdout=subprocess.DEVNULL)
    assert [f.rule for f in found.findings] == ["R512"] and "0 on rank 0, 1 on rank 1" in found.findings[0].message


def test_nothing_that_imports_torch(tmp_path: Path) -> None:
    found = launch.watch(["true"], lambda f: None)
    assert found.code == 0 and "ran no Python that imports torch" in launch.summary(found)


@pytest.mark.parametrize("command", [[], ["no-such-command"]])
def test_a_command_that_is_none(command: list[str]) -> None:
    with pytest.raises(InputError, match="torchkiln guard -- python"):
        launch.watch(command, lambda f: None)


def test_json_at_the_end_is_ours_unless_the_program_takes_it(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "a.py", tmp_path / "b.py"
    mine.write_text("print(1)\n")
    theirs.write_text("parser.add_argument('--json')\n")
    assert launch.for_itself(["python", str(mine), "--json"]) == (["python", str(mine)], True)
    assert launch.for_itself(["python", str(theirs), "--json"]) == (["python", str(theirs), "--json"], False)
    assert launch.for_itself(["tool", "--json"]) == (["tool", "--json"], False)


def test_what_a_person_sees(tmp_path: Path, capfd: Captured) -> None:
    command = program(tmp_path, {"begun": True}, {"finding": FINDING.as_json()}, ends="")
    assert launch.command_line([*command, "a"], json_to=None, strict=True) == 1
    out, err = capfd.readouterr()
    assert out == "hello ['a']\n"
    assert "FAIL R504 x.py:3: m (step 1)" in err and "fix: f" in err
    assert launch.command_line(command, json_to=str(tmp_path / "f.json"), strict=False) == 0
    assert json.loads((tmp_path / "f.json").read_text()) == [FINDING.as_json()]


def test_json_alone_is_all_that_is_printed(tmp_path: Path, capfd: Captured) -> None:
    command = program(tmp_path, {"begun": True}, {"finding": FINDING.as_json()})
    assert launch.command_line(command, json_to="-", strict=False) == 3
    out, err = capfd.readouterr()
    assert json.loads(out) == [FINDING.as_json()] and "hello" in err
