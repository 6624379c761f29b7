"""What a call does in a training: steps, clears, clips, switches, runs a model, or cannot be seen into."""

from __future__ import annotations

import ast

from torchkiln.checks.lint import names
from torchkiln.checks.lint.events import Event, State, Trace, last_name
from torchkiln.checks.lint.names import is_functional_loss
from torchkiln.checks.lint.relevance import DEEPEST_CALL, Relevance, adds
from torchkiln.checks.lint.source import Class, Function, argument, constant, dotted, keyword
from torchkiln.checks.lint.values import Frame, Kind, Values, closure_of


class Meanings:
    """Makes events of calls; who walks is the class below it.

    Args:
        relevance: What to look at.
        values: Kinds of values.
        trace: Where the events go.
    """

    def __init__(self, relevance: Relevance, values: Values, trace: Trace) -> None:
        self.relevance, self.values, self.trace = relevance, values, trace
        self.project = values.project

    def function(self, frame: Frame, state: State) -> None:
        """Walk through a function."""
        raise NotImplementedError

    def call(self, call: ast.Call, frame: Frame, state: State) -> None:
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
            if self.values.kind(call.func, frame).name == "loss":
                self._forward(call, frame, state)
            self._enter(call, target, frame, state)
            return
        if not self._forward(call, frame, state):
            self._opaque(call, frame, state)

    def _enter(self, call: ast.Call, target: Function, frame: Frame, state: State) -> None:
        inner = self.values.enter(call, target, frame)
        if inner.depth > DEEPEST_CALL or (not self.relevance.telling(target) and not adds(target)):
            self.trace.covered.add(target)
            return
        self.function(inner, state)

    def _special(self, call: ast.Call, frame: Frame, state: State) -> bool:
        """Whether a call is one of those that have a meaning here; its event is made."""
        func = call.func
        last = last_name(func)
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

    def _clip(self, call: ast.Call, owner: ast.expr, frame: Frame, state: State) -> bool:
        if self.values.kind(owner, frame).name == "foreign":
            return self._foreign(call, frame, state)
        keys = tuple(self._models_of(call.args[0], frame)) if call.args else ()
        self.emit("clip", "", call, frame, state, names=keys)
        return True

    def _backward(self, call: ast.Call, owner: ast.expr, frame: Frame, state: State) -> bool:
        scaled, loss = False, owner
        if dotted(owner) == "self" and last_name(call.func) == "backward" and call.args:
            return False
        if last_name(call.func) == "manual_backward" or frame.function.source.called(call) == "torch.autograd.backward":
            if not call.args:
                return True
            loss = call.args[0]
        elif isinstance(owner, ast.Call) and last_name(owner.func) == "scale" and owner.args:
            scaled, loss = True, owner.args[0]
        elif self.values.kind(owner, frame).name in ("foreign", "model", "optimizer", "scaler") or (
            call.args and names.LOSS_NAME.search(dotted(call.args[0]))
        ):
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
        return any(isinstance(a.value, ast.Call) and last_name(a.value.func) == "scale" for a in assigns)

    def _foreign(self, call: ast.Call, frame: Frame, state: State) -> bool:
        self.emit("foreign", "", call, frame, state)
        return True

    def _step(self, call: ast.Call, owner: ast.expr, frame: Frame, state: State) -> bool:
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

    def _zero(self, call: ast.Call, owner: ast.expr, frame: Frame, state: State) -> bool:
        kind = self.values.kind(owner, frame)
        if kind.name == "foreign":
            return self._foreign(call, frame, state)
        key = self.key(owner, frame)
        if kind.name == "instance" and kind.home is not None and self.project.method(kind.home, "zero_grad"):
            return False
        self.emit("zero", key if kind.name == "optimizer" else "*", call, frame, state, names=(key,))
        return True

    def _zero_one(self, call: ast.Call, owner: ast.expr, frame: Frame, state: State) -> bool:
        if dotted(owner).endswith(".grad") or dotted(owner).endswith(".grad.data"):
            self.emit("zero", "*", call, frame, state)
        return True

    def _unscale(self, call: ast.Call, owner: ast.expr, frame: Frame, state: State) -> bool:
        key = self.key(call.args[0], frame) if call.args else ""
        self.emit("unscale", key, call, frame, state)
        return True

    def _update(self, call: ast.Call, owner: ast.expr, frame: Frame, state: State) -> bool:
        if self.values.kind(owner, frame).name == "scaler":
            self.emit("update", self.key(owner, frame), call, frame, state)
            return True
        return False

    def _mode(self, call: ast.Call, owner: ast.expr, frame: Frame, state: State) -> bool:
        last, given = last_name(call.func), argument(call, 0, "mode")
        kind = self.values.kind(owner, frame)
        if kind.name in ("instance", "foreign", "other") or (last == "eval" and (call.args or call.keywords)):
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

    def _move(self, call: ast.Call, owner: ast.expr, frame: Frame, state: State) -> bool:
        if self.values.kind(owner, frame).name == "model" and dotted(owner) and _is_device(call):
            self.emit("move", self.key(owner, frame), call, frame, state)
        return True

    def _requires_grad(self, call: ast.Call, owner: ast.expr, frame: Frame, state: State) -> bool:
        value = constant(argument(call, 0, "requires_grad"))
        key = self.key(owner, frame)
        loop = [a for a in frame.function.assigns.get(dotted(owner), ()) if a.how == "for"]
        if loop:
            self._frozen(owner, value is not False, call, frame, state)
        elif (key and value is not ...) or (not call.args and key):
            self.emit("freeze" if value is False else "thaw", key, call, frame, state)
        return True

    def _forward(self, call: ast.Call, frame: Frame, state: State) -> bool:
        """Whether a call runs a model or a loss function."""
        kind = self.values.kind(call.func, frame)
        if dotted(call.func) == "self" and self.project.is_module(self.project.home(frame.function)):
            kind = Kind("model")
        if is_functional_loss(frame.function.source.called(call)):
            kind = Kind("loss")
        if kind.name not in ("model", "loss") or (not call.args and not call.keywords):
            return False
        if kind.name == "model" and isinstance(self.project.target(call, frame.function), Class):
            return False
        if dotted(call.func).startswith("torch."):
            return False
        self.emit("forward" if kind.name == "model" else "loss", self.key(call.func, frame), call, frame, state)
        return True

    def _opaque(self, call: ast.Call, frame: Frame, state: State) -> None:
        """A call that cannot be seen into, with something at hand that it could change."""
        full = frame.function.source.called(call)
        if (
            full.startswith(("torch.", "numpy.", "math."))
            or last_name(call.func) in PASSIVE
            or only_looks(last_name(call.func))
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
            self.emit("opaque", given[0], call, frame, state, names=tuple(given), how=last_name(call.func))

    # Parameters

    def _models_of(self, given: ast.expr, frame: Frame, depth: int = 0) -> list[str]:
        """Keys of the models whose parameters an expression holds."""
        given, frame = self.values.follow(given, frame)
        found = []
        for one in ast.walk(given):
            if isinstance(one, ast.Call) and last_name(one.func) in ("parameters", "named_parameters"):
                if isinstance(one.func, ast.Attribute):
                    found.append(self.key(one.func.value, frame))
            elif isinstance(one, ast.Name) and depth < 3:
                for where, assign in self.project.bindings(one.id, frame.function):
                    if assign.value is not None and where is frame.function and assign.how == "=":
                        found += self._models_of(assign.value, frame, depth + 1)
        return [k for k in dict.fromkeys(found) if k]

    def _frozen(self, owner: ast.expr, value: object, node: ast.AST, frame: Frame, state: State) -> None:
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

    # Keys

    def emit(self, kind: str, key: str, node: ast.AST, frame: Frame, state: State, **more: object) -> None:
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
    "backward": Meanings._backward,
    "manual_backward": Meanings._backward,
    "step": Meanings._step,
    "zero_grad": Meanings._zero,
    "zero_": Meanings._zero_one,
    "unscale_": Meanings._unscale,
    "update": Meanings._update,
    "eval": Meanings._mode,
    "train": Meanings._mode,
    "to": Meanings._move,
    "cuda": Meanings._move,
    "requires_grad_": Meanings._requires_grad,
    "clip_grad_norm_": Meanings._clip,
    "clip_grad_value_": Meanings._clip,
    "clip_gradients": Meanings._clip,
}
PASSIVE = {
    "print", "len", "range", "float", "int", "str", "isinstance", "append", "tqdm", "item", "enumerate", "zip",
    "state_dict", "load_state_dict", "format", "add_scalar", "log", "log_dict", "write", "info", "set_postfix",
    "set_description", "save", "hasattr", "getattr", "type", "list", "dict", "tuple", "sum", "max", "min",
    "round", "extend", "add", "join", "watch", "id", "abs", "detach", "scale", "parameters", "add_scalars",
    "debug", "vars", "isnan", "isfinite", "repr", "iter", "next", "sorted", "set", "super", "map", "filter",
}  # fmt: skip
HARMLESS = (
    "log", "save", "print", "check", "plot", "eval", "valid", "test", "metric", "accura", "adjust", "learning",
    "lr", "count", "format", "load", "report", "summary", "seed", "state", "scheduler", "schedule", "ema",
    "early_stop", "stopper", "visual", "record", "info", "warm",
)  # fmt: skip


QUIET = ("open", "tqdm", "progress", "profile", "timer", "nullcontext", "suppress", "catch", "lock", "sync", "bar")


def only_looks(name: str) -> bool:
    """Whether a call's name says that it only looks."""
    lowered = name.lower()
    return any(word in lowered for word in HARMLESS)


def leaves_gradients(full: str) -> bool:
    """Whether a context that is not known leaves gradients as they are, by its name."""
    lowered = full.lower()
    return only_looks(full) or any(word in lowered for word in QUIET)


def _is_device(call: ast.Call) -> bool:
    """Whether `.to(...)` or `.cuda()` moves, rather than changes the type alone."""
    if last_name(call.func) == "cuda":
        return True
    given = argument(call, 0, "device")
    if given is None or isinstance(given, ast.Starred):
        return False
    written = dotted(given)
    if ".float" in written or ".half" in written or ".bfloat" in written or written.endswith("dtype"):
        return False
    return bool(written) or isinstance(given, ast.Constant | ast.JoinedStr | ast.Call | ast.IfExp)
