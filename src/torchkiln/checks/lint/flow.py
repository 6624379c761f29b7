"""Where values come from: which assignments reach a place, which activation made them, whether gradients flow back."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from torchkiln.checks.lint.project import Project
from torchkiln.checks.lint.source import Assign, Function, Source, dotted, inside, position
from torchkiln.checks.lint.values import Frame, Values

SHAPING = {
    "view", "reshape", "squeeze", "unsqueeze", "flatten", "float", "double", "half", "to", "cuda", "cpu",
    "permute", "transpose", "contiguous", "t", "view_as", "type", "type_as", "clone", "reshape_as", "expand",
    "bfloat16", "clamp", "clip", "movedim", "unflatten", "chunk", "detach",
}  # fmt: skip
"""Methods that leave the numbers, or their meaning, as they were."""
MUTATING = {
    "append", "extend", "insert", "add_", "copy_", "mul_", "sub_", "div_", "index_add_", "scatter_", "fill_",
    "update", "scatter_add_", "index_copy_", "masked_fill_", "setdefault", "add",
}  # fmt: skip


class Flow:
    """Definitions and what they hold, over a project.

    Args:
        project: The files.
        values: Kinds of values over them.
    """

    def __init__(self, project: Project, values: Values) -> None:
        self.project, self.values = project, values
        self._mutated: dict[Function, set[str]] = {}

    def reaching(self, key: str, at: ast.AST, function: Function) -> list[Assign]:
        """The assignments of a name that may hold at a place, newest first; those before an outright one are gone."""
        source = function.source
        here = branches(source, at)
        above = set(source.above(at))
        found = []
        for assign in sorted(function.assigns.get(key, ()), key=lambda a: position(a.node), reverse=True):
            looping = assign.how in ("for", "with")
            if position(assign.node) > position(at) or (assign.node in above and not looping):
                continue
            there = branches(source, assign.node)
            if any((node, 1 - arm) in here for node, arm in there if arm in (0, 1)):
                continue
            if looping and assign.node not in above and assign.how == "for":
                found.append(assign)
                continue
            found.append(assign)
            if assign.how != "+=" and all(b in here for b in there):
                break
        return found

    def mutated(self, key: str, function: Function) -> bool:
        """Whether a name's value is changed in place, so that its assignments do not tell all."""
        if function not in self._mutated:
            found = set()
            for node in inside(function.node):
                if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                    found.add(dotted(node.value))
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATING:
                    found.add(dotted(node.func.value))
            self._mutated[function] = found
        return key in self._mutated[function]

    def made(self, node: ast.expr, frame: Frame, depth: int = 0) -> tuple[ast.Call, Frame] | None:
        """The call that made a thing which is kept under a name."""
        node, frame = self.values.follow(node, frame)
        if isinstance(node, ast.Call):
            return node, frame
        key = dotted(node)
        if not key or depth > 5:
            return None
        for where, assign in self.project.bindings(key, frame.function):
            if assign.how == "=" and assign.value is not None and assign.value is not node:
                inner = frame if where is frame.function else self.values.frame(where)
                found = self.made(assign.value, inner, depth + 1)
                if found is not None:
                    return found
        return None

    def elements(self, node: ast.expr, frame: Frame) -> Sequence[ast.expr]:
        """The parts of a tuple or list, where they are written out."""
        node, _ = self.values.follow(node, frame)
        return node.elts if isinstance(node, ast.Tuple | ast.List) else ()


def branches(source: Source, node: ast.AST) -> list[tuple[ast.AST, int]]:
    """The branches and loops that a node lies in: (statement, arm); loops and handlers have arm 2 and 3."""
    found: list[tuple[ast.AST, int]] = []
    below = node
    for one in source.above(node):
        if one in source.owners:
            break
        if isinstance(one, ast.If):
            if below is not one.test:
                found.append((one, 0 if _among(below, one.body) else 1))
        elif isinstance(one, ast.For | ast.AsyncFor | ast.While):
            if _among(below, one.body):
                found.append((one, 2))
        elif isinstance(one, ast.ExceptHandler):
            found.append((one, 3))
        below = one
    return found


def _among(node: ast.AST, body: Iterable[ast.AST]) -> bool:
    return any(node is one for one in body)
