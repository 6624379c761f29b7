"""Iterations: the events of one loop that trains or evaluates, and what may be said of their order."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torchkiln.checks.lint import names
from torchkiln.checks.lint.events import Event, Loop, Trace
from torchkiln.checks.lint.source import Function, dotted


@dataclass(eq=False)
class Region:
    """What happens in one turn of a loop, or in a function that is called once for each turn.

    Args:
        trace: The walk it is a part of.
        loop: The loop; None for a function's whole course.
        events: In order.
    """

    trace: Trace
    loop: Loop | None
    events: list[Event]

    def of(self, *kinds: str, key: str | None = None) -> list[Event]:
        """The events of some kinds, perhaps of one thing alone."""
        return [e for e in self.events if e.kind in kinds and (key is None or e.key == key)]

    @property
    def repeats(self) -> bool:
        """Whether this is known to happen again and again: a loop, or a step of Lightning's."""
        return self.loop is not None or (
            self.trace.root.name in ("training_step", "train_step") and bool(self.of("backward"))
        )

    @property
    def foreign(self) -> bool:
        """Whether another library has a hand in it, so that the order is not known."""
        return bool(self.of("foreign"))

    def opaque(self, *keys: str) -> bool:
        """Whether a call that cannot be seen into has one of the things, or all of a class, at hand."""
        return any(set(e.names) & set(keys) or _self(e.names) for e in self.of("opaque"))


def _self(keys: Iterable[str]) -> bool:
    return any("@" not in k and "." not in k for k in keys)


def regions(trace: Trace) -> list[Region]:
    """The iterations of a trace that go back or step."""
    acting = [e for e in trace.events if e.kind in ("backward", "step")]
    found: dict[int, Region] = {}
    for event in acting:
        others = {"backward": "step", "step": "backward"}[event.kind]
        loop = _innermost(event, [e for e in acting if e.kind == others])
        if id(loop) not in found:
            found[id(loop)] = within(trace, loop)
    return list(found.values())


def _innermost(event: Event, others: list[Event]) -> Loop | None:
    for loop in reversed(event.loops):
        if any(loop in other.loops for other in others):
            return loop
    if others and not event.loops and any(not o.loops for o in others):
        return None
    return event.loops[-1] if event.loops else None


def within(trace: Trace, loop: Loop | None) -> Region:
    """The events of a loop."""
    return Region(trace, loop, [e for e in trace.events if loop is None or loop in e.loops])


def together(a: Event, b: Event) -> bool:
    """Whether both can happen in one turn: they lie in no two arms of one test."""
    arms = dict(a.path)
    return all(arms.get(test, arm) == arm for test, arm in b.path)


def always_with(a: Event, b: Event) -> bool:
    """Whether `a` happens whenever `b` does."""
    return set(a.path) <= set(b.path)


def innermost_common(a: Event, b: Event) -> Loop | None:
    """The innermost loop that holds both."""
    return next((loop for loop in reversed(a.loops) if loop in b.loops), None)


def loops_of(trace: Trace) -> list[Loop]:
    """All loops that hold events, outer ones first."""
    return list(dict.fromkeys(loop for e in trace.events for loop in e.loops))


def held_out(loop: Loop, function: Function) -> bool:
    """Whether a loop goes over held-out data, as its iterable or its function says."""
    if not isinstance(loop.node, ast.For | ast.AsyncFor):
        return False
    written = _iterated(loop)
    if any(names.TRAIN_NAME.search(w) for w in written):
        return False
    if any(names.HELD_OUT_NAME.search(w) for w in written):
        return True
    if function.source.name.rpartition("/")[2].startswith("test_"):
        return False  # a test's name says nothing of the data
    named = names.HELD_OUT_NAME.search(function.name) or function.name.startswith(("evaluate", "validate", "infer"))
    return bool(named) and any(names.LOADER_NAME.search(w.rpartition(".")[2]) or w == "data" for w in written)


def _iterated(loop: Loop) -> list[str]:
    """The names in what a loop goes over, as its function and its callers write them."""
    assert isinstance(loop.node, ast.For | ast.AsyncFor)
    found = []
    for one in ast.walk(loop.node.iter):
        if isinstance(one, ast.Name | ast.Attribute):
            frame = loop.frame
            found.append(dotted(one))
            node: ast.expr = one
            while isinstance(node, ast.Name) and node.id in frame.bound:
                node, frame = frame.bound[node.id]
                found.append(dotted(node))
    return [w for w in found if w]


def batches(loop: Loop) -> bool:
    """Whether a loop goes over batches of a loader."""
    return isinstance(loop.node, ast.For | ast.AsyncFor) and any(
        names.LOADER_NAME.search(w.rpartition(".")[2]) for w in _iterated(loop)
    )


def evaluations(trace: Trace) -> Iterator[tuple[Loop, list[Event]]]:
    """Loops over held-out data in which a model runs and nothing is learned, and the model's calls."""
    for loop in loops_of(trace):
        inside = within(trace, loop)
        if inside.of("backward", "step", "foreign"):
            continue
        calls = [e for e in inside.of("forward") if e.loops[-1] is loop]
        if calls and held_out(loop, loop.frame.function):
            yield loop, calls
