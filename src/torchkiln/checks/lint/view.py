"""What a rule looks at, and what it gives back."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from torchkiln.checks.lint.activation import Activations
from torchkiln.checks.lint.events import Event, Trace
from torchkiln.checks.lint.flow import Flow
from torchkiln.checks.lint.gradients import Gradients
from torchkiln.checks.lint.order import Region, regions
from torchkiln.checks.lint.project import Project
from torchkiln.checks.lint.source import Class, Function, Source
from torchkiln.checks.lint.values import Values
from torchkiln.checks.lint.walk import Tracer


class Edit(NamedTuple):
    """A piece of a file's text and what takes its place; positions as `ast` counts them, columns in UTF-8 bytes.

    Args:
        start: Line and column of its beginning.
        end: Of its end; equal to start to insert.
        text: The new text.
    """

    start: tuple[int, int]
    end: tuple[int, int]
    text: str


class Found(NamedTuple):
    """What a rule found.

    Args:
        node: Where.
        source: In which file.
        message: What is there.
        edits: What mends it, if that can be written down.
        safe: Whether the mend leaves all else as it was.
        line: In place of the node's line.
    """

    node: ast.AST | None
    source: Source
    message: str
    edits: Sequence[Edit] = ()
    safe: bool = True
    line: int | None = None


class View:
    """Everything known of the files given.

    Args:
        sources: The files.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.project = Project(sources)
        self.values = Values(self.project)
        self.flow = Flow(self.project, self.values)
        self.activations = Activations(self.flow)
        self.gradients = Gradients(self.flow)
        self.sources = self.project.sources

    @cached_property
    def traces(self) -> list[Trace]:
        """The course of every beginning."""
        return Tracer(self.project, self.values).traces()

    @cached_property
    def regions(self) -> list[Region]:
        """Every iteration that trains and is not another library's."""
        return [r for t in self.traces for r in regions(t) if not r.foreign]

    @cached_property
    def functions(self) -> list[Function]:
        """All functions of all files."""
        return [f for s in self.sources for f in s.functions]

    @cached_property
    def classes(self) -> list[Class]:
        """All classes of all files."""
        return [c for s in self.sources for c in s.classes.values()]

    def calls(self, *full: str) -> Iterator[tuple[ast.Call, Function]]:
        """The calls of some full names."""
        wanted = set(full)
        for source in self.sources:
            for call, function in source.calls:
                if source.called(call) in wanted:
                    yield call, function

    def methods(self, *last: str) -> Iterator[tuple[ast.Call, ast.expr, Function]]:
        """Calls of methods of some names: the call, what it is a method of, the function around."""
        wanted = set(last)
        for source in self.sources:
            for call, function in source.calls:
                if isinstance(call.func, ast.Attribute) and call.func.attr in wanted:
                    yield call, call.func.value, function

    def trains(self, source: Source) -> list[Region]:
        """The training loops that lie in a file or in those related to it."""
        near = set(self.project.related(source))
        return [r for r in self.regions if any(e.function.source in near for e in r.of("backward"))]


def at(event: Event, message: str, edits: Sequence[Edit] = (), safe: bool = True) -> Found:
    """A finding where an event is."""
    return Found(event.node, event.function.source, message, edits, safe)


def replaced(node: ast.AST, text: str) -> Edit:
    """A node written anew."""
    end = (node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
    return Edit((node.lineno, node.col_offset), end, text)  # type: ignore[attr-defined]


def inserted(node: ast.AST, text: str, after: bool = False) -> Edit:
    """Text before a node, or behind it."""
    line, column = ("end_lineno", "end_col_offset") if after else ("lineno", "col_offset")
    place = (getattr(node, line), getattr(node, column))
    return Edit(place, place, text)


def another_argument(call: ast.Call, text: str) -> Edit:
    """One more argument at the end of a call."""
    given = [*call.args, *(k.value for k in call.keywords)]
    if given:
        return inserted(max(given, key=lambda n: (n.end_lineno or 0, n.end_col_offset or 0)), f", {text}", after=True)
    end = (call.end_lineno or 0, (call.end_col_offset or 1) - 1)
    return Edit(end, end, text)
