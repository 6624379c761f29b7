from __future__ import annotations

import ast

import pytest

from torchkiln.checks.lint import source
from torchkiln.checks.lint.source import Source

TEXT = """
import torch.nn as nn
from torch import optim as o
from .nets import Net as N
class Trainer:
    kind = "plain"
    def __init__(self, model, lr=0.1, *, steps=3):
        self.model = model
        self.a, (self.b, c) = 1, pair()
    def fit(self):
        for x, y in self.loader:
            total += x
        return total
"""


@pytest.fixture(scope="module")
def made() -> Source:
    return Source("pkg/run.py", TEXT, "home.pkg.run")


def test_names_are_written_out_in_full(made: Source) -> None:
    def full(text: str) -> str:
        return made.resolve(ast.parse(text, mode="eval").body)

    assert full("nn.Linear") == "torch.nn.Linear" and full("o.SGD") == "torch.optim.SGD"
    assert full("N") == "home.pkg.nets.Net"
    assert full("np.random.rand") == "numpy.random.rand"  # as everyone calls it
    assert full("Trainer.fit") == "Trainer.fit" and full("f()") == ""


def test_classes_methods_and_what_they_keep(made: Source) -> None:
    trainer = made.classes["Trainer"]
    assert set(trainer.methods) == {"__init__", "fit"} and {"kind", "model", "a", "b"} <= set(trainer.attrs)
    init = trainer.methods["__init__"]
    assert init.is_method and init.params == ["self", "model", "lr", "steps"]
    assert source.constant(init.default("lr")) == 0.1 and source.constant(init.default("steps")) == 3
    assert [a.how for a in init.assigns["self.b"]] == ["[0]"]


def test_loops_returns_and_sums(made: Source) -> None:
    fit = made.classes["Trainer"].methods["fit"]
    assert len(fit.loops) == len(fit.returns) == 1
    assert [a.how for a in fit.assigns["total"]] == ["+="] and [a.how for a in fit.assigns["x"]] == ["for"]
    assert made.function_of(fit.loops[0]) is fit


def test_arguments_by_place_or_name() -> None:
    call = ast.parse("f(1, b=2, *rest)", mode="eval").body
    assert isinstance(call, ast.Call)
    assert source.constant(source.argument(call, 0, "a")) == 1
    assert source.constant(source.argument(call, 1, "b")) == 2
    assert source.argument(call, 2, "c") is None and source.spread(call)


def test_dotted_keeps_plain_subscripts() -> None:
    assert source.dotted(ast.parse("a.b[0].c", mode="eval").body) == "a.b.[0].c"
    assert source.dotted(ast.parse("a().b", mode="eval").body) == ""
