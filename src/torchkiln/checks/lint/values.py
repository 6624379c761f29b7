"""What kind of thing a value is: an optimizer, a model, a loss; told by how it was made, else by its usual name."""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass, field
from typing import NamedTuple

from torchkiln.checks.lint import names
from torchkiln.checks.lint.project import Project
from torchkiln.checks.lint.source import Assign, Class, Function, argument, constant, dotted, keyword

DEEPEST = 6
MOST_CALLERS = 3


class Kind(NamedTuple):
    """What a value is.

    Args:
        name: optimizer, scheduler, plateau, scaler, model, loss, loader, autocast, no_grad, instance, foreign or "".
        made_by: The full name of what made it; "" where only its own name tells.
        home: The project's class that it is made from.
    """

    name: str
    made_by: str = ""
    home: Class | None = None


UNKNOWN = Kind("")


@dataclass(eq=False)
class Frame:
    """A function as it is called from one place.

    Args:
        function: The function.
        bound: Parameter to the caller's expression and the caller's frame.
        depth: How many calls lie above it.
    """

    function: Function
    bound: dict[str, tuple[ast.expr, Frame]] = field(default_factory=dict)
    depth: int = 0


class Values:
    """Kinds of values over a project."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._known: dict[tuple[ast.AST, Frame], Kind] = {}
        self._frames: dict[Function, Frame] = {}
        self._rebound: dict[tuple[Function, str], bool] = {}

    def frame(self, function: Function) -> Frame:
        """A function as seen by itself, nothing known of its callers."""
        if function not in self._frames:
            self._frames[function] = Frame(function)
        return self._frames[function]

    def follow(self, node: ast.expr, frame: Frame) -> tuple[ast.expr, Frame]:
        """A parameter's expression in the caller, as far as that is known; else the node itself."""
        while isinstance(node, ast.Name) and node.id in frame.bound and not self.rebound(node.id, frame.function):
            node, frame = frame.bound[node.id]
        return node, frame

    def rebound(self, name: str, function: Function) -> bool:
        """Whether a parameter gets another value in its function, and not itself moved or wrapped."""
        key = (function, name)
        if key not in self._rebound:
            assigns = function.assigns.get(name, ())
            self._rebound[key] = any(a.how != "=" or not _itself(a.value, name, function) for a in assigns)
        return self._rebound[key]

    def kind(self, node: ast.expr, frame: Frame, depth: int = 0) -> Kind:
        """What an expression's value is."""
        if depth > DEEPEST:
            return UNKNOWN
        known = self._known.get((node, frame))
        if known is None:
            self._known[node, frame] = UNKNOWN  # what is made from itself ends here
            known = self._known[node, frame] = self._kind(node, frame, depth)
        return known

    def _kind(self, node: ast.expr, frame: Frame, depth: int) -> Kind:
        node, frame = self.follow(node, frame)
        if isinstance(node, ast.Call):
            return self._call(node, frame, depth)
        if isinstance(node, ast.IfExp):
            first = self.kind(node.body, frame, depth + 1)
            return first if first.name else self.kind(node.orelse, frame, depth + 1)
        key = dotted(node)
        if not key:
            return UNKNOWN
        for where, assign in self.project.bindings(key, frame.function):
            found = self._assigned(assign, frame if where is frame.function else self.frame(where), depth)
            if found.name:
                return found
        if isinstance(node, ast.Name) and node.id in frame.function.params and not frame.bound:
            found = self._from_callers(node, frame, depth)
            if found.name:
                return found
        if key.endswith(".module"):
            return self.kind(node.value, frame, depth + 1) if isinstance(node, ast.Attribute) else UNKNOWN
        full = frame.function.source.resolve(node)
        if full.startswith(names.FOREIGN_ROOTS):
            return Kind("foreign", full)
        return by_name(key.rpartition(".")[2].partition("[")[0])

    def _from_callers(self, node: ast.Name, frame: Frame, depth: int) -> Kind:
        """What all callers in view hand over, where they agree."""
        calls = self.project.callers.get(frame.function, ())
        if not 0 < len(calls) <= MOST_CALLERS:
            return UNKNOWN
        kinds = set()
        for call, caller in calls:
            inner = self.enter(call, frame.function, self.frame(caller))
            kinds.add(self.kind(node, inner, depth + 1) if node.id in inner.bound else UNKNOWN)
        return kinds.pop() if len(kinds) == 1 else UNKNOWN

    def _assigned(self, assign: Assign, frame: Frame, depth: int) -> Kind:
        value = assign.value
        if value is None or assign.how in ("+=", "for"):
            return UNKNOWN
        if assign.how.startswith("["):
            return self._part(value, int(assign.how[1:-1]), frame, depth)
        return self.kind(value, frame, depth + 1)

    def _part(self, value: ast.expr, place: int, frame: Frame, depth: int) -> Kind:
        """One of several values that a call gives at once."""
        if not isinstance(value, ast.Call):
            return UNKNOWN
        whole = self.kind(value, frame, depth + 1)
        if whole.name == "foreign":
            return whole
        target = self.project.target(value, frame.function)
        if isinstance(target, Function):
            for given in target.returns:
                if isinstance(given, ast.Tuple) and place < len(given.elts):
                    return self.kind(given.elts[place], self.enter(value, target, frame), depth + 1)
        return UNKNOWN

    def _call(self, call: ast.Call, frame: Frame, depth: int) -> Kind:
        function = frame.function
        full = function.source.called(call)
        found = by_maker(full)
        if found.name == "scaler" and constant(keyword(call, "enabled")) is False:
            return UNKNOWN
        if found.name in ("foreign", "loss") or (found.name and full.startswith(("torch.", "transformers."))):
            return found
        if full in names.WRAPPERS and call.args:
            return self.kind(call.args[0], frame, depth + 1)
        target = self.project.target(call, function)
        if isinstance(target, Class):
            return self.of_class(target)
        if isinstance(target, Function):
            inner = self.enter(call, target, frame)
            return next((k for r in target.returns if (k := self.kind(r, inner, depth + 1)).name), found)
        if isinstance(call.func, ast.Attribute):
            if call.func.attr in names.METHODS_OF_SELF:
                return self.kind(call.func.value, frame, depth + 1)
            if self.kind(call.func.value, frame, depth + 1).name == "foreign":
                return Kind("foreign", full)
        return found

    def of_class(self, one: Class) -> Kind:
        """What instances of a class of the project are."""
        bases = self.project.bases(one)
        if self.project.is_module(one):
            is_loss = one.name.lower().endswith("loss")
            return Kind("loss" if is_loss else "model", one.name, one)
        if any(b.startswith("torch.optim.lr_scheduler") for b in bases):
            return Kind("scheduler", one.name, one)
        if any(b.startswith("torch.optim.") for b in bases):
            return Kind("foreign" if "step" in one.methods else "optimizer", one.name, one)
        return Kind("instance", one.name, one)

    def enter(self, call: ast.Call, target: Function, frame: Frame) -> Frame:
        """The frame of a function that is called with the call's arguments."""
        params = target.params[1:] if target.params[:1] in (["self"], ["cls"]) else target.params
        bound: dict[str, tuple[ast.expr, Frame]] = {}
        for name, value in zip(params, call.args, strict=False):
            if isinstance(value, ast.Starred):
                break
            bound[name] = (value, frame)
        bound |= {k.arg: (k.value, frame) for k in call.keywords if k.arg in target.params}
        return Frame(target, bound, frame.depth + 1)


def _itself(value: ast.expr | None, name: str, function: Function) -> bool:
    """Whether a value is a name's own, moved to a device or wrapped."""
    while isinstance(value, ast.Call):
        if isinstance(value.func, ast.Attribute) and value.func.attr in names.METHODS_OF_SELF:
            value = value.func.value
        elif function.source.called(value) in names.WRAPPERS and value.args:
            value = value.args[0]
        else:
            return False
    return isinstance(value, ast.Name) and value.id == name


@functools.cache
def by_name(name: str) -> Kind:
    """What a thing of an unknown making is by its usual name."""
    lowered = name.lower()
    if lowered in ("accelerator", "fabric", "engine", "model_engine", "ds_engine", "strategy"):
        return Kind("foreign")
    for pattern, kind in (
        (names.SCHEDULER_NAME, "scheduler"),
        (names.LOSS_FUNCTION_NAME, "loss"),
        (names.OPTIMIZER_NAME, "optimizer"),
        (names.SCALER_NAME, "scaler"),
        (names.MODEL_NAME, "model"),
    ):
        if pattern.search(name) and not names.ACT_NAME.match(name):
            return Kind(kind)
    return Kind("loader") if re_loader(name) else UNKNOWN


def re_loader(name: str) -> bool:
    """Whether a name is usual for a loader of batches."""
    return bool(names.LOADER_NAME.search(name))


def by_maker(full: str) -> Kind:
    """What the call of a full name gives, of torch and its neighbours."""
    last = full.rpartition(".")[2]
    if full.startswith(names.FOREIGN_ROOTS):
        return Kind("foreign", full)
    if full.startswith(("sklearn.", "numpy.", "pandas.", "matplotlib.")):
        return Kind("other", full)
    if full.startswith("torch.optim.lr_scheduler.") or last == "SWALR":
        return Kind("plateau" if full == names.PLATEAU else "scheduler", full)
    if full.startswith("torch.optim.") and last[:1].isupper():
        return Kind("model" if last == "AveragedModel" else "optimizer", full)
    if full in names.SCALERS:
        return Kind("scaler", full)
    if full == names.LOADER:
        return Kind("loader", full)
    if full in names.AUTOCAST:
        return Kind("autocast", full)
    if full in names.NO_GRAD:
        return Kind("no_grad", full)
    if full.startswith("torch.nn.") and last[:1].isupper() and full.count(".") == 2:
        return Kind("loss" if last.endswith("Loss") else "model", full)
    if full.startswith(("torchvision.models.", "timm.create_model", "segmentation_models_pytorch.", "torch.hub.load")):
        return Kind("model", full)
    if full.startswith("transformers."):
        if "schedule" in last:
            return Kind("scheduler", full)
        if last in ("from_pretrained", "from_config") and "Model" in full:
            return Kind("model", full)
    return UNKNOWN


def closure_of(call: ast.Call, frame: Frame) -> Function | None:
    """The function that `optimizer.step(closure)` calls."""
    given = argument(call, 0, "closure")
    if isinstance(given, ast.Name):
        around: Function | None = frame.function
        while around is not None:
            if given.id in around.inner:
                return around.inner[given.id]
            around = around.outer
    return frame.function.source.owners.get(given) if isinstance(given, ast.Lambda) else None
