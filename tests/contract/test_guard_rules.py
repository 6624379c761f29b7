"""Each rule of guard names its bug in short programs, and none says FAIL of a clean one.

The programs stand in guard_programs: buggy.txt (`# --- R504: name`, with the rule that is to speak by the end) and
clean.txt. The examples of the rules' pages are programs too.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from torchkiln.checks import catalogue
from torchkiln.checks.guard import rules

FOLDER = Path(__file__).parent
SPEC = importlib.util.spec_from_file_location("guard_frame", FOLDER / "guard_frame.py")
assert SPEC is not None and SPEC.loader is not None
frame = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(frame)

BUGGY = frame.programs(FOLDER / "guard_programs" / "buggy.txt")
CLEAN = frame.programs(FOLDER / "guard_programs" / "clean.txt")
WATCHING = [module.__name__.rpartition(".")[2][:4].upper() for module in rules.modules() if hasattr(module, "Check")]


@pytest.mark.parametrize(("name", "code"), BUGGY, ids=[name for name, _ in BUGGY])
def test_a_bug_is_named(name: str, code: str) -> None:
    assert name[:4] in {f.rule for f in frame.watched(name, code)}


@pytest.mark.parametrize(("name", "code"), CLEAN, ids=[name for name, _ in CLEAN])
def test_a_clean_program_has_no_fail(name: str, code: str) -> None:
    assert [f.message for f in frame.watched(name, code) if f.state == "FAIL"] == []


def test_there_are_enough_programs() -> None:
    assert len(BUGGY) >= 60 and len(CLEAN) >= 60


@pytest.mark.parametrize("rule", WATCHING)
def test_the_examples_of_a_page_are_true(rule: str) -> None:
    page = catalogue.page(rule)
    assert rule in {f.rule for f in frame.watched(f"{rule} Bad", page.snippet("Bad"))}
    good = frame.watched(f"{rule} Good", page.snippet("Good"))
    assert rule not in {f.rule for f in good} and "FAIL" not in {f.state for f in good}


@pytest.mark.parametrize("rule", [r for r in catalogue.pages() if catalogue.page(r).wing == "guard"])
def test_a_page_has_its_examples(rule: str) -> None:
    page = catalogue.page(rule)
    assert page.snippet("Bad") != page.snippet("Good") and 0.5 <= page.confidence <= 1
