from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from torchkiln.checks.diagnose import command
from torchkiln.errors import DataError

FAILS = """
import sys
print("begun")
def loss_of(out, y):
    raise IndexError("Target 3 is out of bounds.")
loss_of(1, 2)
"""


def run(tmp_path: Path, code: str, *words: str) -> command.Diagnosis:
    file = tmp_path / "train.py"
    file.write_text(code)
    return command.of_command([sys.executable, str(file), *words])


def test_a_program_is_run_as_it_is(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = run(tmp_path, FAILS)
    said = capfd.readouterr()
    assert said.out == "begun\n" and said.err.endswith("IndexError: Target 3 is out of bounds.\n")
    assert found.code == 1 and found.findings[0].rule == "X401"
    assert found.findings[0].file == str(tmp_path / "train.py") and found.findings[0].line == 5


def test_its_words_and_its_exit_code_are_its_own(tmp_path: Path) -> None:
    assert run(tmp_path, "import sys; sys.exit(len(sys.argv))", "--json", "--debug").code == 3
    assert run(tmp_path, "pass").code == 0


def test_a_hook_of_its_own_still_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = run(tmp_path, "import sys\nsys.excepthook = lambda *a: print('mine')\n" + FAILS)
    assert capfd.readouterr().out == "begun\nmine\n"
    assert found.findings[0].rule == "X401", "the facts do not need the printed traceback"


def test_a_program_that_is_killed(tmp_path: Path) -> None:
    found = run(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert found.code == 137 and found.findings[0].rule == "X955"


def test_another_sitecustomize_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import builtins\nbuiltins.seen = 7\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert run(tmp_path, "import sys; sys.exit(seen)").code == 7


def test_a_command_that_does_not_exist() -> None:
    with pytest.raises(DataError, match="cannot be started: no such file"):
        command.of_command(["no-such-program"])


def test_stdout_can_go_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "out"
    with file.open("wb") as out:
        command.of_command([sys.executable, "-c", "print(5)"], out)
    assert file.read_text() == "5\n"


def test_stdin_is_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"IndexError: Target 3 is out of bounds.\n")))
    assert command.of_file("-").findings[0].rule == "X401"
