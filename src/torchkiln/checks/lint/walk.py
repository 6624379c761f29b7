"""Walks through functions as they would run, each branch and each loop once, callees followed across the files.

Whatever is not known for certain gives no event; what another library owns gives an event `foreign`.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace

from torchkiln.checks.lint import names
from torchkiln.checks.lint.events import Loop, State, Trace, leaves
from torchkiln.checks.lint.meaning import Meanings, leaves_gradients
from torchkiln.checks.lint.project import Project
from torchkiln.checks.lint.relevance import DEEPEST_CALL, Relevance
from torchkiln.checks.lint.source import Function, Loops, argument, constant, dotted, keyword
from torchkiln.checks.lint.values import Frame, Values

MOST_EVENTS = 4000


class Tracer:
    """Walks functions.

    Args:
        project: The files.
        values: Kinds of values over them.
    """

    def __init__(self, project: Project, values: Values) -> None:
        self.project, self.values = project, values
        self.relevance = Relevance(project)

    def traces(self) -> list[Trace]:
        """One for each function that nothing in view calls, or that no other trace came to."""
        found: list[Trace] = []
        covered: set[Function] = set()
        functions = [f for s in self.project.sources for f in s.functions if f.name != "<lambda>"]
        functions = [f for f in functions if self.relevance.telling(f, begins=True)]
        for called in (False, True):
            for function in functions:
                if bool(self.project.callers.get(function)) == called and function not in covered:
                    found.append(self.trace(function))
                    covered |= found[-1].covered
        return found

    def trace(self, function: Function) -> Trace:
        """What a function does when nothing is known of its callers; a method follows its `__init__`."""
        walk = _Walk(self.relevance, self.values, Trace(function))
        home = function.owner
        if home is not None and function.name != "__init__" and not self.project.is_module(home):
            made = self.project.method(home, "__init__")
            if made is not None:
                walk.function(self.values.frame(made), State())
        walk.function(self.values.frame(function), State())
        return walk.trace


class _Walk(Meanings):
    """One walk from a root."""

    def function(self, frame: Frame, state: State) -> None:
        """All that a function does."""
        function = frame.function
        if function in state.stack or len(self.trace.events) > MOST_EVENTS:
            return
        self.trace.covered.add(function)
        state = replace(state, stack=(*state.stack, function))
        for one in function.decorators:
            state = self._entered(one.func if isinstance(one, ast.Call) else one, one, frame, state)
        self.block(function.body, frame, state)

    def block(self, body: Sequence[ast.stmt], frame: Frame, state: State) -> None:
        """Statements one after the other; what follows an arm that leaves lies in the other arm."""
        for node in body:
            switched = self.statement(node, frame, state)
            if switched is not None:
                state = switched

    def statement(self, node: ast.stmt, frame: Frame, state: State) -> State | None:
        """One statement; returns the state behind it where that has changed."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return None
        if isinstance(node, ast.If):
            return self._if(node, frame, state)
        if isinstance(node, Loops):
            self._loop(node, frame, state)
        elif isinstance(node, ast.With | ast.AsyncWith):
            inner = state
            for item in node.items:
                self.expression(item.context_expr, frame, state)
                inner = self._entered(item.context_expr, node, frame, inner)
            self.block(node.body, frame, inner)
        elif isinstance(node, ast.Try):
            tried = (f"try{id(node)}", 0)
            self.block(node.body, frame, state)
            for handler in node.handlers:
                self.block(handler.body, frame, replace(state, path=(*state.path, tried)))
            self.block(node.orelse, frame, state)
            self.block(node.finalbody, frame, state)
        elif isinstance(node, ast.Match):
            for place, case in enumerate(node.cases):
                self.block(case.body, frame, replace(state, path=(*state.path, (f"match{id(node)}", place))))
        else:
            return self._simple(node, frame, state)
        return None

    def _if(self, node: ast.If, frame: Frame, state: State) -> State | None:
        self.expression(node.test, frame, state)
        test, arm = self.relevance.test(node.test)
        yes = replace(state, path=(*state.path, (test, arm)))
        no = replace(state, path=(*state.path, (test, 1 - arm)))
        if constant(node.test) is not ... and not constant(node.test):
            yes = replace(yes, path=(*state.path, ("never", 0)))
        if test == "__name__ == '__main__'":
            yes = state
        self.block(node.body, frame, yes)
        self.block(node.orelse, frame, no)
        if leaves(node.body):
            return no
        return yes if node.orelse and leaves(node.orelse) else None

    def _loop(self, node: Loops, frame: Frame, state: State) -> None:
        if isinstance(node, ast.While):
            self.expression(node.test, frame, state)
        else:
            self.expression(node.iter, frame, state)
        inner = replace(state, loops=(*state.loops, Loop(node, frame)))
        self.block(node.body, frame, inner)
        self.block(node.orelse, frame, state)

    def _entered(self, context: ast.expr, node: ast.AST, frame: Frame, state: State) -> State:
        """The state inside a context or under a decorator."""
        function = frame.function
        call = context if isinstance(context, ast.Call) else None
        full = function.source.called(call) if call else function.source.resolve(context)
        if (
            full in names.NO_GRAD
            or full.endswith((".no_grad", ".inference_mode"))
            or full in ("no_grad", "inference_mode")
        ):
            mode = constant(argument(call, 0, "mode")) if call and full.endswith("inference_mode") else ...
            return replace(state, no_grad=mode is not False)
        if full == "torch.enable_grad":
            return replace(state, no_grad=False)
        if full == "torch.set_grad_enabled" and call:
            mode = constant(argument(call, 0, "mode"))
            return replace(state, no_grad=None if mode is ... else not mode)
        kind = self.values.kind(context, frame)
        if full in names.AUTOCAST or kind.name == "autocast":
            off = call is not None and constant(keyword(call, "enabled")) is False
            return replace(state, autocast=None if off else node)
        if kind.name == "no_grad":
            return replace(state, no_grad=True)
        if kind.name == "foreign":
            self.emit("foreign", "", context, frame, state)
        if call is None or not full or kind.name or full.startswith("torch."):
            return state
        return state if state.no_grad else replace(state, no_grad=state.no_grad if leaves_gradients(full) else None)

    def _simple(self, node: ast.stmt, frame: Frame, state: State) -> State | None:
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and node.value is not None:
            self.expression(node.value, frame, state)
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                self._stored(target, node.value, node, frame, state)
            return None
        if isinstance(node, ast.Delete):
            for target in node.targets:
                if isinstance(target, ast.Attribute) and target.attr == "grad":
                    self.emit("zero", "*", node, frame, state)
            return None
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.expression(child, frame, state)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            call = node.value
            if frame.function.source.called(call) == "torch.set_grad_enabled":
                mode = constant(argument(call, 0, "mode"))
                return replace(state, no_grad=None if mode is ... else not mode)
        return None

    def _stored(self, target: ast.expr, value: ast.expr, node: ast.stmt, frame: Frame, state: State) -> None:
        """What an assignment does beside evaluating its value."""
        if isinstance(target, ast.Tuple | ast.List):
            if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts):
                for one, part in zip(target.elts, value.elts, strict=True):
                    self._stored(one, part, node, frame, state)
            elif isinstance(value, ast.Call):
                self._returned(target.elts, value, frame)
            return
        if isinstance(target, ast.Attribute) and target.attr == "grad" and not isinstance(node, ast.AugAssign):
            self.emit("zero" if constant(value) is None else "touch", "*", node, frame, state)
            return
        if isinstance(target, ast.Attribute) and target.attr == "requires_grad":
            self._frozen(target.value, constant(value), node, frame, state)
            return
        if isinstance(node, ast.AugAssign):
            return
        key = self.key(target, frame)
        self._replaced(target, key, value, node, frame, state)
        if dotted(value) and not isinstance(value, ast.Subscript):
            source = self.key(value, frame)
            if source and key and source != key:
                self.trace.alias[key] = source
        elif isinstance(value, ast.Call):
            self._returned([target], value, frame)

    def _replaced(
        self, target: ast.expr, key: str, value: ast.expr, node: ast.stmt, frame: Frame, state: State
    ) -> None:
        """A model rebound to something new, or given a new part."""
        if not isinstance(value, ast.Call):
            return
        made = self.values.kind(value, frame)
        full = frame.function.source.called(value)
        if full in names.WRAPPERS:
            if value.args:
                self.emit("wrap", self.key(value.args[0], frame), node, frame, state, how=full)
        elif made.name == "model" and not (
            isinstance(value.func, ast.Attribute) and self._self_returning(value, frame)
        ):
            self.emit("replace", key, node, frame, state, how="part" if isinstance(target, ast.Attribute) else "")
        elif made.name == "optimizer":
            self._made(key, value, node, frame, state)

    def _self_returning(self, value: ast.Call, frame: Frame) -> bool:
        func = value.func
        return (
            isinstance(func, ast.Attribute)
            and func.attr in names.METHODS_OF_SELF
            and not isinstance(func.value, ast.Call)
        )

    def _made(self, key: str, value: ast.Call, node: ast.stmt, frame: Frame, state: State) -> None:
        if frame.depth > DEEPEST_CALL:
            return
        given = argument(value, 0, "params")
        owners = tuple(self._models_of(given, frame)) if given is not None else ()
        target = self.project.target(value, frame.function)
        if isinstance(target, Function):
            inner = self.values.enter(value, target, frame)
            for one in target.returns:
                if isinstance(one, ast.Call):
                    self._made(key, one, node, inner, state)
            return
        if frame.function.source.called(value).startswith("torch.optim.") or owners:
            self.emit("make", key, node, frame, state, names=owners)

    def _returned(self, targets: Sequence[ast.expr], value: ast.Call, frame: Frame) -> None:
        """What a function gives back keeps the key that it had inside."""
        function = self.project.target(value, frame.function)
        if not isinstance(function, Function) or len(function.returns) != 1:
            for target in targets:
                self.trace.alias.pop(self.key(target, frame, alias=False), None)
            return
        given = function.returns[0]
        parts = given.elts if isinstance(given, ast.Tuple) and len(targets) > 1 else [given]
        inner = self.values.enter(value, function, frame)
        for target, part in zip(targets, parts, strict=False):
            here, there = self.key(target, frame, alias=False), self.key(part, inner) if dotted(part) else ""
            if here and there and here != there:
                self.trace.alias[here] = there

    # Expressions

    def expression(self, node: ast.expr, frame: Frame, state: State) -> None:
        """The calls of an expression, in the order in which they are made."""
        for call, path in self.relevance.calls(node):
            self.call(call, frame, replace(state, path=(*state.path, *path)) if path else state)
