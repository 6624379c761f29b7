from __future__ import annotations

import ast

from torchkiln.checks.lint import view
from torchkiln.checks.lint.fix import applied
from torchkiln.checks.lint.source import Source
from torchkiln.checks.lint.view import View


def test_calls_by_full_name_and_methods_by_their_last() -> None:
    made = View([Source("a.py", "import torch as t\nt.load('x')\nmodel.forward(x)\n", "a")])
    assert len(list(made.calls("torch.load"))) == 1
    assert [ast.unparse(owner) for _, owner, _ in made.methods("forward")] == ["model"]


def test_edits_are_told_by_nodes() -> None:
    text = "f(a, b=1)\n"
    call = ast.parse(text).body[0].value  # type: ignore[attr-defined]
    assert applied(text, [view.another_argument(call, "c=2")]) == "f(a, b=1, c=2)\n"
    assert applied(text, [view.replaced(call.func, "g")]) == "g(a, b=1)\n"
    assert (
        applied(text, [view.inserted(call, "(", after=False), view.inserted(call, ")", after=True)]) == "(f(a, b=1))\n"
    )
    empty = ast.parse("f()").body[0].value  # type: ignore[attr-defined]
    assert applied("f()", [view.another_argument(empty, "c=2")]) == "f(c=2)"


def test_training_loops_of_a_file() -> None:
    made = View([Source("a.py", "for x in loader:\n    loss.backward()\n    optimizer.step()\n", "a")])
    assert len(made.trains(made.sources[0])) == 1
