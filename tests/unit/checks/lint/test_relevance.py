from __future__ import annotations

import ast

from torchkiln.checks.lint.project import Project
from torchkiln.checks.lint.relevance import Relevance
from torchkiln.checks.lint.source import Source

TEXT = """
def back(loss): loss.backward()
def outer(): back(1)
def looks(): return 1
def evaluate():
    for x in val_loader: pass
def switches(m): m.eval()
"""


def test_what_is_worth_a_walk() -> None:
    source = Source("a.py", TEXT, "a")
    relevance = Relevance(Project([source]))
    begins = {n for n, f in source.top.inner.items() if relevance.telling(f, begins=True)}
    passed = {n for n, f in source.top.inner.items() if relevance.telling(f)}
    assert begins == {"back", "outer", "evaluate"} and passed == begins | {"switches"}


def test_calls_come_in_the_order_in_which_they_are_made() -> None:
    relevance = Relevance(Project([]))
    node = ast.parse("a(b(), c() if t() else d()).e()", mode="eval").body
    assert [(ast.unparse(call.func)[-1], path) for call, path in relevance.calls(node)] == [
        ("b", ()), ("t", ()), ("c", (("t()", 1),)), ("d", (("t()", 0),)), ("a", ()), ("e", ()),
    ]  # fmt: skip
