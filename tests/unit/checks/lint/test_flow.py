from __future__ import annotations

import ast

import pytest

from torchkiln.checks.lint.source import Source
from torchkiln.checks.lint.view import View

TEXT = """
a = 1
a = 2
use(a)
if test:
    a = 3
else:
    a = 4
    use(a)
use(a)
for b in things:
    use(b)
a += 5
use(a)
a = f(a)
"""


@pytest.mark.parametrize(
    ("line", "lines"), [(4, [3]), (9, [8]), (10, [8, 6, 3]), (12, [11]), (14, [13, 8, 6, 3]), (15, [13, 8, 6, 3])]
)
def test_definitions_that_reach(line: int, lines: list[int]) -> None:
    source = Source("a.py", TEXT, "a")
    view = View([source])
    name = next(c.args[0] for c, _ in source.calls if c.lineno == line)
    assert isinstance(name, ast.Name)
    assert [a.node.lineno for a in view.flow.reaching(name.id, name, source.top)] == lines  # type: ignore[attr-defined]


def test_changes_in_place_are_seen() -> None:
    source = Source("a.py", "a = []\na.append(1)\nb = []\nc[0] = 1\n", "a")
    view = View([source])
    assert [view.flow.mutated(n, source.top) for n in "abc"] == [True, False, True]
