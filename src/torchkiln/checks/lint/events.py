"""What a training program does, in order: forward, backward, step and the rest, callees followed across the files.

A function is walked as it would run, each branch once, each loop once. Whatever is not known for certain gives no
event; what another library owns gives an event `foreign`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from torchkiln.checks.lint import names
from torchkiln.checks.lint.project import Project
from torchkiln.checks.lint.source import Assign, Class, Function, Loops, argument, constant, dotted, keyword
from torchkiln.checks.lint.values import Frame, Kind, Values, closure_of

DEEPEST_CALL = 5
MOST_EVENTS = 4000
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
class _State:
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


class Tracer:
    """Walks functions.

    Args:
        project: The files.
        values: Kinds of values over them.
    """

    def __init__(self, project: Project, values: Values) -> None:
        self.project, self.values = project, values
        self._telling: dict[tuple[Function, bool], bool] = {}
        self._calls: dict[ast.expr, list[tuple[ast.Call, tuple[tuple[str, int], ...]]]] = {}
        self._tests: dict[ast.expr, tuple[str, int]] = {}

    def traces(self) -> list[Trace]:
        """One for each function that nothing in view calls, or that no other trace came to."""
        found: list[Trace] = []
        covered: set[Function] = set()
        functions = [f for s in self.project.sources for f in s.functions if f.name != "<lambda>"]
        functions = [f for f in functions if self.telling(f, begins=True)]
        for called in (False, True):
            for function in functions:
                if bool(self.project.callers.get(function)) == called and function not in covered:
                    found.append(self.trace(function))
                    covered |= found[-1].covered
        return found

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
        if any(_last(call.func) in wanted for call in function.calls):
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
            names.LOADER_NAME.search(_last(n)) for x in function.loops if not isinstance(x, ast.While)
            for n in ast.walk(x.iter) if isinstance(n, ast.Name | ast.Attribute)
        )  # fmt: skip

    def calls(self, node: ast.expr) -> list[tuple[ast.Call, tuple[tuple[str, int], ...]]]:
        """The calls of an expression in the order in which they are made, each with the branches it lies in."""
        found = self._calls.get(node)
        if found is None:
            found = self._calls[node] = list(self._ordered(node, ()))
        return found

    def _ordered(
        self, node: ast.AST, path: tuple[tuple[str, int], ...]
    ) -> Iterator[tuple[ast.Call, tuple[tuple[str, int], ...]]]:
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
            self._tests[node] = _test(node)
        return self._tests[node]

    def _function(self, target: Function | Class | None) -> Function | None:
        if isinstance(target, Class):
            return None if self.project.is_module(target) else self.project.method(target, "__init__")
        return target

    def trace(self, function: Function) -> Trace:
        """What a function does when nothing is known of its callers; a method follows its `__init__`."""
        walk = _Walk(self, Trace(function))
        home = function.owner
        if home is not None and function.name != "__init__" and not self.project.is_module(home):
            made = self.project.method(home, "__init__")
            if made is not None:
                walk.function(self.values.frame(made), _State())
        walk.function(self.values.frame(function), _State())
        return walk.trace


class _Walk:
    """One walk from a root."""

    def __init__(self, tracer: Tracer, trace: Trace) -> None:
        self.tracer, self.trace = tracer, trace
        self.project, self.values = tracer.project, tracer.values

    def function(self, frame: Frame, state: _State) -> None:
        """All that a function does."""
        function = frame.function
        if function in state.stack or len(self.trace.events) > MOST_EVENTS:
            return
        self.trace.covered.add(function)
        state = replace(state, stack=(*state.stack, function))
        for one in function.decorators:
            state = self._entered(one.func if isinstance(one, ast.Call) else one, one, frame, state)
        self.block(function.body, frame, state)

    def block(self, body: Sequence[ast.stmt], frame: Frame, state: _State) -> None:
        """Statements one after the other; what follows an arm that leaves lies in the other arm."""
        for node in body:
            switched = self.statement(node, frame, state)
            if switched is not None:
                state = switched

    def statement(self, node: ast.stmt, frame: Frame, state: _State) -> _State | None:
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

    def _if(self, node: ast.If, frame: Frame, state: _State) -> _State | None:
        self.expression(node.test, frame, state)
        test, arm = self.tracer.test(node.test)
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

    def _loop(self, node: Loops, frame: Frame, state: _State) -> None:
        if isinstance(node, ast.While):
            self.expression(node.test, frame, state)
        else:
            self.expression(node.iter, frame, state)
        inner = replace(state, loops=(*state.loops, Loop(node, frame)))
        self.block(node.body, frame, inner)
        self.block(node.orelse, frame, state)

    def _entered(self, context: ast.expr, node: ast.AST, frame: Frame, state: _State) -> _State:
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
        return state if state.no_grad else replace(state, no_grad=state.no_grad if _harmless(full) else None)

    def _simple(self, node: ast.stmt, frame: Frame, state: _State) -> _State | None:
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

    def _stored(self, target: ast.expr, value: ast.expr, node: ast.stmt, frame: Frame, state: _State) -> None:
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
        self, target: ast.expr, key: str, value: ast.expr, node: ast.stmt, frame: Frame, state: _State
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

    def _made(self, key: str, value: ast.Call, node: ast.stmt, frame: Frame, state: _State) -> None:
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

    def _models_of(self, given: ast.expr, frame: Frame, depth: int = 0) -> list[str]:
        """Keys of the models whose parameters an expression holds."""
        given, frame = self.values.follow(given, frame)
        found = []
        for one in ast.walk(given):
            if isinstance(one, ast.Call) and _last(one.func) in ("parameters", "named_parameters"):
                if isinstance(one.func, ast.Attribute):
                    found.append(self.key(one.func.value, frame))
            elif isinstance(one, ast.Name) and depth < 3:
                for where, assign in self.project.bindings(one.id, frame.function):
                    if assign.value is not None and where is frame.function and assign.how == "=":
                        found += self._models_of(assign.value, frame, depth + 1)
        return [k for k in dict.fromkeys(found) if k]

    def _frozen(self, owner: ast.expr, value: object, node: ast.AST, frame: Frame, state: _State) -> None:
        """`p.requires_grad = False` for the `p` of a loop over a model's parameters."""
        if value is ...:
            return
        key = ""
        for assign in frame.function.assigns.get(dotted(owner), ()):
            if assign.how == "for" and assign.value is not None:
                key = next(iter(self._models_of(assign.value, frame)), "")
        if not key and dotted(owner).endswith((".weight", ".bias")):
            key = self.key(owner, frame)
        if key:
            self.emit("thaw" if value else "freeze", key, node, frame, state)

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

    def expression(self, node: ast.expr, frame: Frame, state: _State) -> None:
        """The calls of an expression, in the order in which they are made."""
        for call, path in self.tracer.calls(node):
            self.call(call, frame, replace(state, path=(*state.path, *path)) if path else state)

    def call(self, call: ast.Call, frame: Frame, state: _State) -> None:
        """One call: what it does itself, or what the project's function does that it calls."""
        if self._special(call, frame, state):
            return
        target = self.project.target(call, frame.function)
        if isinstance(target, Class):
            if not self.project.is_module(target):
                made = self.project.method(target, "__init__")
                inner = self.values.enter(call, made, frame) if made is not None else None
                if inner is not None and inner.depth <= DEEPEST_CALL:
                    self.function(inner, state)  # what it keeps is known by other names from then on
            return
        if isinstance(target, Function):
            if self._forward(call, frame, state):
                return
            self._enter(call, target, frame, state)
            return
        if not self._forward(call, frame, state):
            self._opaque(call, frame, state)

    def _enter(self, call: ast.Call, target: Function, frame: Frame, state: _State) -> None:
        inner = self.values.enter(call, target, frame)
        if inner.depth > DEEPEST_CALL or not self.tracer.telling(target) and not _adds(target):
            self.trace.covered.add(target)
            return
        self.function(inner, state)

    def _special(self, call: ast.Call, frame: Frame, state: _State) -> bool:
        """Whether a call is one of those that have a meaning here; its event is made."""
        func = call.func
        last = _last(func)
        act = METHODS.get(last)
        if act is not None and isinstance(func, ast.Attribute):
            if isinstance(self.project.target(call, frame.function), Function):
                return False
            return bool(act(self, call, func.value, frame, state))
        full = frame.function.source.called(call)
        if full in names.CLIPS or last in ("clip_grad_norm_", "clip_grad_value_"):
            self.emit(
                "clip", "", call, frame, state, names=tuple(self._models_of(call.args[0], frame)) if call.args else ()
            )
            return True
        if full in names.WRAPPERS and not isinstance(frame.function.source.parents.get(call), ast.Assign):
            if full.endswith("fully_shard") and call.args:
                self.emit("wrap", self.key(call.args[0], frame), call, frame, state, how=full)
            return True
        return False

    def _clip(self, call: ast.Call, owner: ast.expr, frame: Frame, state: _State) -> bool:
        if self.values.kind(owner, frame).name == "foreign":
            return self._foreign(call, frame, state)
        keys = tuple(self._models_of(call.args[0], frame)) if call.args else ()
        self.emit("clip", "", call, frame, state, names=keys)
        return True

    def _backward(self, call: ast.Call, owner: ast.expr, frame: Frame, state: _State) -> bool:
        scaled, loss = False, owner
        if dotted(owner) == "self" and _last(call.func) == "backward" and call.args:
            return False
        if _last(call.func) == "manual_backward" or frame.function.source.called(call) == "torch.autograd.backward":
            if not call.args:
                return True
            loss = call.args[0]
        elif isinstance(owner, ast.Call) and _last(owner.func) == "scale" and owner.args:
            scaled, loss = True, owner.args[0]
        elif self.values.kind(owner, frame).name in ("foreign", "model", "optimizer", "scaler"):
            return self._foreign(call, frame, state)
        elif call.args and names.LOSS_NAME.search(dotted(call.args[0])):
            return self._foreign(call, frame, state)
        elif not dotted(owner).startswith("self.") and not scaled:
            scaled = self._was_scaled(owner, frame)
        retained = (
            constant(keyword(call, "retain_graph")) is True and constant(keyword(call, "create_graph")) is not True
        )
        how = "scaled" if scaled else "retained" if retained else ""
        key = self.key(loss, frame)
        self.emit("backward", key, call, frame, state, how=how, names=("retained",) if retained else ())
        return True

    def _was_scaled(self, owner: ast.expr, frame: Frame) -> bool:
        """Whether a loss was given to the scaler in a statement of its own."""
        assigns = frame.function.assigns.get(dotted(owner), ())
        return any(isinstance(a.value, ast.Call) and _last(a.value.func) == "scale" for a in assigns)

    def _foreign(self, call: ast.Call, frame: Frame, state: _State) -> bool:
        self.emit("foreign", "", call, frame, state)
        return True

    def _step(self, call: ast.Call, owner: ast.expr, frame: Frame, state: _State) -> bool:
        kind = self.values.kind(owner, frame)
        key = self.key(owner, frame)
        if kind.name == "optimizer":
            closure = closure_of(call, frame)
            if closure is not None:
                self.function(Frame(closure, dict(frame.bound), frame.depth + 1), state)
            elif argument(call, 0, "closure") is not None:
                return self._foreign(call, frame, state)
            self.emit("step", key, call, frame, state, how="closure" if closure else "")
        elif kind.name in ("scheduler", "plateau"):
            known = "known" if kind.made_by and kind.home is None else ""
            self.emit("schedule", key, call, frame, state, how="plateau" if kind.name == "plateau" else known)
        elif kind.name == "scaler" and call.args:
            self.emit("step", self.key(call.args[0], frame), call, frame, state, how="scaled", names=(key,))
        elif kind.name == "foreign":
            return self._foreign(call, frame, state)
        elif kind.name == "instance":
            return False
        return True

    def _zero(self, call: ast.Call, owner: ast.expr, frame: Frame, state: _State) -> bool:
        kind = self.values.kind(owner, frame)
        if kind.name == "foreign":
            return self._foreign(call, frame, state)
        key = self.key(owner, frame)
        if kind.name == "instance" and kind.home is not None and self.project.method(kind.home, "zero_grad"):
            return False
        self.emit("zero", key if kind.name == "optimizer" else "*", call, frame, state, names=(key,))
        return True

    def _zero_one(self, call: ast.Call, owner: ast.expr, frame: Frame, state: _State) -> bool:
        if dotted(owner).endswith(".grad") or dotted(owner).endswith(".grad.data"):
            self.emit("zero", "*", call, frame, state)
        return True

    def _unscale(self, call: ast.Call, owner: ast.expr, frame: Frame, state: _State) -> bool:
        key = self.key(call.args[0], frame) if call.args else ""
        self.emit("unscale", key, call, frame, state)
        return True

    def _update(self, call: ast.Call, owner: ast.expr, frame: Frame, state: _State) -> bool:
        if self.values.kind(owner, frame).name == "scaler":
            self.emit("update", self.key(owner, frame), call, frame, state)
            return True
        return False

    def _mode(self, call: ast.Call, owner: ast.expr, frame: Frame, state: _State) -> bool:
        last, given = _last(call.func), argument(call, 0, "mode")
        kind = self.values.kind(owner, frame)
        if kind.name in ("instance", "foreign", "other") or last == "eval" and (call.args or call.keywords):
            return False
        key = self.key(owner, frame)
        if last == "train" and given is not None:
            if len(call.args) + len(call.keywords) > 1 or constant(given) not in (True, False, ...):
                return False
            switch = constant(given)
            how = "eval" if switch is False else "train" if switch is True else "mode"
        else:
            how = last
        if not key:
            return False
        if dotted(owner) == "self" and not self.project.is_module(self.project.home(frame.function)):
            return False
        self.emit("eval" if how == "eval" else "train", key, call, frame, state, how=how)
        return True

    def _move(self, call: ast.Call, owner: ast.expr, frame: Frame, state: _State) -> bool:
        if self.values.kind(owner, frame).name == "model" and dotted(owner) and _is_device(call):
            self.emit("move", self.key(owner, frame), call, frame, state)
        return True

    def _requires_grad(self, call: ast.Call, owner: ast.expr, frame: Frame, state: _State) -> bool:
        value = constant(argument(call, 0, "requires_grad"))
        key = self.key(owner, frame)
        loop = [a for a in frame.function.assigns.get(dotted(owner), ()) if a.how == "for"]
        if loop:
            self._frozen(owner, value is not False, call, frame, state)
        elif key and value is not ... or not call.args and key:
            self.emit("freeze" if value is False else "thaw", key, call, frame, state)
        return True

    def _forward(self, call: ast.Call, frame: Frame, state: _State) -> bool:
        """Whether a call runs a model or a loss function."""
        kind = self.values.kind(call.func, frame)
        if dotted(call.func) == "self" and self.project.is_module(self.project.home(frame.function)):
            kind = Kind("model")
        if kind.name not in ("model", "loss") or not call.args and not call.keywords:
            return False
        if kind.name == "model" and isinstance(self.project.target(call, frame.function), Class):
            return False
        if dotted(call.func).startswith("torch."):
            return False
        self.emit("forward" if kind.name == "model" else "loss", self.key(call.func, frame), call, frame, state)
        return True

    def _opaque(self, call: ast.Call, frame: Frame, state: _State) -> None:
        """A call that cannot be seen into, with something at hand that it could change."""
        full = frame.function.source.called(call)
        if (
            full.startswith(("torch.", "numpy.", "math."))
            or _last(call.func) in PASSIVE
            or HARMLESS_CALL(_last(call.func))
        ):
            return
        given = []
        owner = call.func.value if isinstance(call.func, ast.Attribute) else None
        if owner is not None and self.values.kind(owner, frame).name == "foreign":
            self.emit("foreign", "", call, frame, state)
            return
        for one in (*call.args, *(k.value for k in call.keywords)):
            if isinstance(one, ast.Starred):
                one = one.value
            key = dotted(one)
            if key and (
                self.values.kind(one, frame).name in ("optimizer", "model", "scaler")
                or names.LOSS_NAME.search(key.rpartition(".")[2])
                or key == "self"
            ):
                given.append(self.key(one, frame))
        if given:
            self.emit("opaque", given[0], call, frame, state, names=tuple(given), how=_last(call.func))

    # Keys

    def emit(self, kind: str, key: str, node: ast.AST, frame: Frame, state: _State, **more: object) -> None:
        """Write an event down."""
        self.trace.events.append(
            Event(kind, key, node, frame, state.loops, state.path, state.autocast, state.no_grad, **more)  # type: ignore[arg-type]
        )

    def key(self, node: ast.expr, frame: Frame, alias: bool = True) -> str:
        """One name for one thing, wherever it has been passed to."""
        while (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in names.METHODS_OF_SELF
        ):
            node = node.func.value
        written = dotted(node).replace(".module.", ".").removesuffix(".module")
        if not written:
            return ""
        first, dot, rest = written.partition(".")
        if first in frame.bound and not self.values.rebound(first, frame.function):
            root = self.key(*frame.bound[first])
            return self._known(f"{root}{dot}{rest}") if root else ""
        if first == "self":
            home = self.project.home(frame.function)
            made = f"{home.name if home else 'self'}{dot}{rest}"
        else:
            made = f"{first}@{self._scope(first, frame.function)}{dot}{rest}"
        return self._known(made) if alias else made

    def _known(self, key: str) -> str:
        for _ in range(6):
            for cut in range(key.count(".") + 1):
                head = key if not cut else key.rsplit(".", cut)[0]
                if head in self.trace.alias:
                    key = self.trace.alias[head] + key[len(head) :]
                    break
            else:
                return key
        return key

    @staticmethod
    def _scope(name: str, function: Function) -> str:
        around: Function | None = function
        while around is not None:
            if name in around.assigns or name in around.params:
                return f"{around.name}:{getattr(around.node, 'lineno', 0)}"
            around = around.outer
        return ""


METHODS = {
    "backward": _Walk._backward,
    "manual_backward": _Walk._backward,
    "step": _Walk._step,
    "zero_grad": _Walk._zero,
    "zero_": _Walk._zero_one,
    "unscale_": _Walk._unscale,
    "update": _Walk._update,
    "eval": _Walk._mode,
    "train": _Walk._mode,
    "to": _Walk._move,
    "cuda": _Walk._move,
    "requires_grad_": _Walk._requires_grad,
    "clip_grad_norm_": _Walk._clip,
    "clip_grad_value_": _Walk._clip,
    "clip_gradients": _Walk._clip,
}
PASSIVE = {"print", "len", "range", "float", "int", "str", "isinstance", "append", "tqdm", "item", "enumerate", "zip",
           "state_dict", "load_state_dict", "format", "add_scalar", "log", "log_dict", "write", "info", "set_postfix",
           "set_description", "save", "hasattr", "getattr", "type", "list", "dict", "tuple", "sum", "max", "min", "round",
           "extend", "add", "join", "watch", "id", "abs", "detach", "scale", "parameters", "add_scalars", "debug",
           "vars", "isnan", "isfinite", "repr", "iter", "next", "sorted", "set", "super", "map", "filter"}  # fmt: skip
HARMLESS = ("log", "save", "print", "check", "plot", "eval", "valid", "test", "metric", "accura", "adjust", "learning",
            "lr", "count", "format", "load", "report", "summary", "seed", "state", "scheduler", "schedule", "ema",
            "early_stop", "stopper", "visual", "record", "info", "warm")  # fmt: skip


def HARMLESS_CALL(name: str) -> bool:
    """Whether a call's name says that it only looks."""
    lowered = name.lower()
    return any(word in lowered for word in HARMLESS)


def _harmless(full: str) -> bool:
    """Whether a context that is not known leaves gradients as they are."""
    return HARMLESS_CALL(full) or any(w in full.lower() for w in ("open", "tqdm", "progress", "profile", "timer", "nullcontext",
                                                                   "suppress", "catch", "lock", "sync", "bar"))  # fmt: skip


def _last(func: ast.AST) -> str:
    if isinstance(func, ast.Attribute):
        return func.attr
    return func.id if isinstance(func, ast.Name) else ""


def _tells(function: Function, call: ast.Call) -> bool:
    """Whether a call runs a model or a loss by its name, or gives a thing a new layer."""
    last = _last(call.func)
    if names.MODEL_NAME.search(last) or names.LOSS_FUNCTION_NAME.search(last):
        return True
    parent = function.source.parents.get(call)
    return (
        isinstance(parent, ast.Assign)
        and isinstance(parent.targets[0], ast.Attribute | ast.Subscript)
        and (function.source.called(call).startswith("torch.nn.") and not dotted(parent.targets[0]).startswith("self."))
    )


def _is_device(call: ast.Call) -> bool:
    """Whether `.to(...)` or `.cuda()` moves, rather than changes the type alone."""
    if _last(call.func) == "cuda":
        return True
    given = argument(call, 0, "device")
    if given is None or isinstance(given, ast.Starred):
        return False
    written = dotted(given)
    if ".float" in written or ".half" in written or ".bfloat" in written or written.endswith("dtype"):
        return False
    return bool(written) or isinstance(given, ast.Constant | ast.JoinedStr | ast.Call | ast.IfExp)


def _test(node: ast.expr) -> tuple[str, int]:
    """A test as text and the arm that its `if` stands for; `not x` is the other arm of `x`."""
    arm = 1
    while isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        node, arm = node.operand, 1 - arm
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and constant(node.comparators[0]) is None:
        if isinstance(node.ops[0], ast.Is | ast.IsNot):
            text = ast.unparse(node.left)
            return text, arm if isinstance(node.ops[0], ast.IsNot) else 1 - arm
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.NotEq):
        return f"{ast.unparse(node.left)} == {ast.unparse(node.comparators[0])}", 1 - arm
    return ast.unparse(node), arm


def leaves(body: Sequence[ast.stmt]) -> bool:
    """Whether a block never goes on to what follows it."""
    return bool(body) and isinstance(body[-1], ast.Continue | ast.Break | ast.Return | ast.Raise)


def _adds(function: Function) -> bool:
    """Whether a function adds to what it keeps, or gives back a sum."""
    return any(a.how == "+=" for some in function.assigns.values() for a in some) or any(
        isinstance(r, ast.BinOp) for r in function.returns
    )


__all__ = ["Assign", "Event", "Trace", "Tracer", "leaves"]
