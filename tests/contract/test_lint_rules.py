"""Each rule finds what it should, in three ways of writing it, and is silent beside it.

The cases stand in lint_cases/RULE.txt. A line `# --- name` begins one; `# expect` stands at the lines to be found,
`# expect-any` where any line will do. A case whose name begins with `silent` has none.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from torchkiln.checks import catalogue
from torchkiln.checks.lint.run import look
from torchkiln.checks.lint.source import Source

FOLDER = Path(__file__).parent / "lint_cases"
SURE = sorted(catalogue.chosen(["E", "W"]))


def cases() -> list[tuple[str, str, str]]:
    """(rule, name, code)"""
    found = []
    for file in sorted(FOLDER.glob("*.txt")):
        parts = re.split(r"^# --- (.+)\n", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert parts[0] == ""
        found += [(file.stem, name, code) for name, code in zip(parts[1::2], parts[2::2], strict=True)]
    return found


CASES = cases()


def lines(rule: str, code: str) -> set[int]:
    return {getattr(found.node, "lineno", 0) for _, found in look([Source("case.py", code, "case")], [], {rule})}


@pytest.mark.parametrize(("rule", "name", "code"), CASES, ids=[f"{r}: {n}" for r, n, _ in CASES])
def test_case(rule: str, name: str, code: str) -> None:
    wanted = {n for n, line in enumerate(code.splitlines(), 1) if line.endswith("# expect")}
    found = lines(rule, code)
    assert not name.startswith("silent") or (not wanted and not found), found
    if "# expect-any" in code:
        assert found
    else:
        assert found == wanted


@pytest.mark.parametrize("rule", SURE)
def test_bugs_have_three_variants_and_a_twin(rule: str) -> None:
    kinds = [name.split(":")[0] for r, name, _ in CASES if r == rule]
    assert {"straight", "helper", "methods", "silent"} <= set(kinds), kinds


@pytest.mark.parametrize("rule", [p.id for p in catalogue.pages().values() if p.wing == "lint"])
def test_the_examples_of_a_page_are_true(rule: str) -> None:
    page = catalogue.page(rule)
    assert lines(rule, page.snippet("Bad")), "the bad example is not found"
    assert not lines(rule, page.snippet("Good")), "the good example is found"
    sure = {r for r, _ in look([Source("good.py", page.snippet("Good"), "good")], [], set(SURE))}
    assert not sure, "the good example has another fault"
