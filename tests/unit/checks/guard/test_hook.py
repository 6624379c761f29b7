from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from torchkiln.checks.finding import Finding
from torchkiln.checks.guard import hook


def test_torch_alone_is_waited_for() -> None:
    finder = hook.WhenTorchComes()
    assert finder.find_spec("json", None) is None


def test_torch_is_found_as_it_would_have_been(monkeypatch: pytest.MonkeyPatch) -> None:
    hook.wait()
    finder = sys.meta_path[0]
    assert isinstance(finder, hook.WhenTorchComes)
    spec = finder.find_spec("torch", None)
    assert spec is not None and spec.origin == sys.modules["torch"].__file__ and finder not in sys.meta_path


def test_what_is_written_is_a_value_a_line(tmp_path: Path) -> None:
    written = hook.Written(tmp_path)
    written.finding(Finding(rule="R504", title="t", message="m", state="FAIL"))
    written.note({"rank": 0})
    lines = [json.loads(x) for x in (tmp_path / f"{os.getpid()}.jsonl").read_text().splitlines()]
    assert lines[0]["finding"]["rule"] == "R504" and lines[1] == {"note": {"rank": 0}}


def test_a_folder_that_is_gone_is_no_fault_of_the_program(tmp_path: Path) -> None:
    hook.Written(tmp_path / "gone").note({"rank": 0})
