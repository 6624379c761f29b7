from __future__ import annotations

import ast

import pytest

from torchkiln.checks.lint.events import last_name, leaves
from torchkiln.checks.lint.events import test_of as arm_of


@pytest.mark.parametrize(
    ("test", "found"),
    [
        ("a", ("a", 1)),
        ("not a", ("a", 0)),
        ("a is not None", ("a", 1)),
        ("a is None", ("a", 0)),
        ("not a is None", ("a", 1)),
        ("a != 3", ("a == 3", 0)),
        ("a == 3", ("a == 3", 1)),
    ],
)
def test_a_test_and_its_opposite_are_arms_of_one(test: str, found: tuple[str, int]) -> None:
    assert arm_of(ast.parse(test, mode="eval").body) == found


def test_blocks_that_leave() -> None:
    assert leaves(ast.parse("x = 1\nraise x").body) and not leaves(ast.parse("raise x\nx = 1").body) and not leaves([])


def test_the_last_name() -> None:
    assert [last_name(ast.parse(t, mode="eval").body) for t in ("a.b", "c", "d[0]")] == ["b", "c", ""]
