"""Which functions are worth walking through, and in which order the calls of an expression are made."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint import names
from torchkiln.checks.lint.events import last_name, test_of
from torchkiln.checks.lint.project import Project
from torchkiln.checks.lint.source import Class, Function, dotted

DEEPEST_CALL = 5
MANY_CALLERS = 24

BEGINNING = {
    "backward",
    "requires_grad_",
    "manual_backward",
    "step",
    "zero_grad",
    "unscale_",
    "clip_grad_norm_",
    "clip_grad_value_",
}
"""Names of methods and functions for which it pays to begin a walk."""
TELLING = {*BEGINNING, "eval", "train", "update", "set_grad_enabled", "cuda", "to", "parameters"}
"""Names without which a function that is called on the way does nothing that is looked at here."""


Branches = tuple[tuple[str, int], ...]


class Relevance:
    """Tells what to look at.

    Args:
        project: The files.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self._telling: dict[tuple[Function, bool], bool] = {}
        self._calls: dict[ast.expr, list[tuple[ast.Call, Branches]]] = {}
        self._tests: dict[ast.expr, tuple[str, int]] = {}

    def telling(self, function: Function, depth: int = 0, begins: bool = False) -> bool:
        """Whether a function, or one that it calls, does anything that is looked at here; `begins`: as a beginning."""
        key = (function, begins)
        known = self._telling.get(key)
        if known is not None:
            return known
        self._telling[key] = False
        here = self._acts(function, begins)
        if not here and depth < DEEPEST_CALL:
            for call in function.calls:
                target = self._function(self.project.target(call, function))
                if begins and target is not None and len(self.project.callers[target]) > MANY_CALLERS:
                    continue  # what all use does not make each of them a training
                if target is not None and self.telling(target, depth + 1, begins):
                    here = True
                    break
        self._telling[key] = here
        return here

    @staticmethod
    def _acts(function: Function, begins: bool) -> bool:
        wanted = BEGINNING if begins else TELLING
        if any(last_name(call.func) in wanted for call in function.calls):
            return True
        if any(key.endswith(("requires_grad", ".grad")) for key in function.assigns) and not begins:
            return True
        if not begins and any(_tells(function, call) for call in function.calls):
            return True
        if any(
            "optim." in (full := function.source.called(c)) and full.startswith("torch.optim.") for c in function.calls
        ):
            return True
        return any(
            names.LOADER_NAME.search(last_name(n)) for x in function.loops if not isinstance(x, ast.While)
            for n in ast.walk(x.iter) if isinstance(n, ast.Name | ast.Attribute)
        )  # fmt: skip

    def calls(self, node: ast.expr) -> list[tuple[ast.Call, Branches]]:
        """The calls of an expression in the order in which they are made, each with the branches it lies in."""
        found = self._calls.get(node)
        if found is None:
            found = self._calls[node] = list(self._ordered(node, ()))
        return found

    def _ordered(self, node: ast.AST, path: Branches) -> Iterator[tuple[ast.Call, Branches]]:
        kind = type(node)
        if kind in (ast.Name, ast.Constant, ast.Lambda):
            return
        if isinstance(node, ast.IfExp):
            test, arm = self.test(node.test)
            yield from self._ordered(node.test, path)
            yield from self._ordered(node.body, (*path, (test, arm)))
            yield from self._ordered(node.orelse, (*path, (test, 1 - arm)))
            return
        for child in ast.iter_child_nodes(node):
            yield from self._ordered(child, path)
        if isinstance(node, ast.Call):
            yield node, path

    def test(self, node: ast.expr) -> tuple[str, int]:
        """A test as text, and the arm that its `if` stands for."""
        if node not in self._tests:
            self._tests[node] = test_of(node)
        return self._tests[node]

    def _function(self, target: Function | Class | None) -> Function | None:
        if isinstance(target, Class):
            return None if self.project.is_module(target) else self.project.method(target, "__init__")
        return target


def _tells(function: Function, call: ast.Call) -> bool:
    """Whether a call runs a model or a loss by its name, or gives a thing a new layer."""
    last = last_name(call.func)
    if names.MODEL_NAME.search(last) or names.LOSS_FUNCTION_NAME.search(last):
        return True
    parent = function.source.parents.get(call)
    return (
        isinstance(parent, ast.Assign)
        and isinstance(parent.targets[0], ast.Attribute | ast.Subscript)
        and (function.source.called(call).startswith("torch.nn.") and not dotted(parent.targets[0]).startswith("self."))
    )


def adds(function: Function) -> bool:
    """Whether a function adds to what it keeps, or gives back a sum."""
    return any(a.how == "+=" for some in function.assigns.values() for a in some) or any(
        isinstance(r, ast.BinOp) for r in function.returns
    )
