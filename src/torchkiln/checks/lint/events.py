"""What a training program does, as events: forward, backward, step and the rest."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field

from torchkiln.checks.lint.source import Function, Loops, constant
from torchkiln.checks.lint.values import Frame


@dataclass(frozen=True, eq=False)
class Loop:
    """A loop as it is come to once; a function that is called twice has its loops twice.

    Args:
        node: The statement.
        frame: The function, as called.
    """

    node: Loops
    frame: Frame


@dataclass(frozen=True, eq=False)
class Event:
    """One thing that happens.

    Args:
        kind: backward, step, zero, clip, unscale, update, eval, train, forward, schedule, make (an optimizer), move,
            wrap, replace, freeze, thaw, add (to a running total), foreign, opaque (a call that cannot be seen into).
        key: What it happens to: one name for one thing wherever it is passed to; "" where that is not known.
        node: Where.
        frame: The function, as called.
        loops: The loops around it, from the outside in, those around the calls included.
        path: The branches it lies in: (test, which arm).
        autocast: The `with` of an autocast around it.
        no_grad: Whether gradients are off; None where that cannot be told.
        names: Keys of what else takes part.
        how: A word more: `scaled`, `retained`, `closure`, `train`.
    """

    kind: str
    key: str
    node: ast.AST
    frame: Frame
    loops: tuple[Loop, ...] = ()
    path: tuple[tuple[str, int], ...] = ()
    autocast: ast.AST | None = None
    no_grad: bool | None = False
    names: tuple[str, ...] = ()
    how: str = ""

    @property
    def function(self) -> Function:
        """The function whose code this is."""
        return self.frame.function


@dataclass
class State:
    """Where the walk is."""

    loops: tuple[Loop, ...] = ()
    path: tuple[tuple[str, int], ...] = ()
    autocast: ast.AST | None = None
    no_grad: bool | None = False
    stack: tuple[Function, ...] = ()


@dataclass
class Trace:
    """The events of one beginning, in order.

    Args:
        root: The function where the walk began.
        events: What happened.
        covered: Every function that was walked through.
    """

    root: Function
    events: list[Event] = field(default_factory=list)
    covered: set[Function] = field(default_factory=set)
    alias: dict[str, str] = field(default_factory=dict)


def last_name(func: ast.AST) -> str:
    """`c` of `a.b.c` or of a plain name."""
    if isinstance(func, ast.Attribute):
        return func.attr
    return func.id if isinstance(func, ast.Name) else ""


def test_of(node: ast.expr) -> tuple[str, int]:
    """A test as text and the arm that its `if` stands for; `not x` is the other arm of `x`."""
    arm = 1
    while isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        node, arm = node.operand, 1 - arm
    plain = node if isinstance(node, ast.Compare) and len(node.ops) == 1 else None
    if plain and constant(plain.comparators[0]) is None and isinstance(plain.ops[0], ast.Is | ast.IsNot):
        return ast.unparse(plain.left), arm if isinstance(plain.ops[0], ast.IsNot) else 1 - arm
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.NotEq):
        return f"{ast.unparse(node.left)} == {ast.unparse(node.comparators[0])}", 1 - arm
    return ast.unparse(node), arm


def leaves(body: Sequence[ast.stmt]) -> bool:
    """Whether a block never goes on to what follows it."""
    return bool(body) and isinstance(body[-1], ast.Continue | ast.Break | ast.Return | ast.Raise)
