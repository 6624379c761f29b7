"""Whether gradients flow through a value back to parameters, or where they were cut off."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torchkiln.checks.lint import names
from torchkiln.checks.lint.flow import Flow
from torchkiln.checks.lint.source import Assign, Class, Function, argument, constant, dotted, keyword
from torchkiln.checks.lint.values import Frame

CUTTING = {"detach", "item", "numpy", "tolist", "argmax", "argmin", "long", "int", "bool", "byte", "detach_"}
KEEPING = {
    "view", "reshape", "squeeze", "unsqueeze", "flatten", "float", "double", "half", "to", "cuda", "cpu",
    "permute", "transpose", "contiguous", "t", "clone", "expand", "mean", "sum", "pow", "abs", "log", "exp",
    "sqrt", "mul", "add", "div", "sub", "neg", "softmax", "log_softmax", "sigmoid", "tanh", "relu", "clamp",
    "norm", "max", "min", "square", "type_as", "view_as", "bfloat16", "gather", "masked_fill", "matmul", "mm",
    "bmm", "logsumexp",
}  # fmt: skip
ENDS = {
    "float", "int", "numpy.array", "numpy.asarray", "torch.tensor", "torch.Tensor", "torch.FloatTensor",
    "torch.from_numpy", "torch.argmax", "torch.cuda.FloatTensor",
}  # fmt: skip
KEEPING_FUNCTIONS = {
    "mean", "sum", "stack", "cat", "log", "exp", "sqrt", "abs", "pow", "square", "softmax", "sigmoid", "log_softmax",
    "clamp", "squeeze", "flatten", "mul", "add", "sub", "div", "norm", "relu", "tanh",
}  # fmt: skip
"""Of torch and of numpy, by their last name."""
COUNTING = ("enumerate", "tqdm", "track", "trange")
DEEPEST = 14


class Grad(NamedTuple):
    """What is known of a value.

    Args:
        state: flows, unknown, cut (it came from parameters), off (from who knows where), none (it is data).
        node: Where it was cut.
        function: In which function.
    """

    state: str
    node: ast.AST | None = None
    function: Function | None = None


RANK = ("flows", "unknown", "cut", "off", "none")
FLOWS, UNKNOWN, NONE = Grad("flows"), Grad("unknown"), Grad("none")


class Gradients:
    """Tells whether gradients flow.

    Args:
        flow: Definitions over the project.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow, self.values, self.project = flow, flow.values, flow.project

    def of(self, node: ast.expr | None, frame: Frame, depth: int = 0) -> Grad:
        """What is known of an expression's value; all that reaches it must agree before it counts as cut."""
        if node is None or depth > DEEPEST:
            return UNKNOWN
        node, frame = self.values.follow(node, frame)
        if isinstance(node, ast.Constant):
            return NONE
        if isinstance(node, ast.Call):
            return self._call(node, frame, depth + 1)
        if isinstance(node, ast.BinOp):
            return self._joined((node.left, node.right), frame, depth)
        if isinstance(node, ast.UnaryOp):
            return self.of(node.operand, frame, depth + 1)
        if isinstance(node, ast.IfExp):
            return self._joined((node.body, node.orelse), frame, depth)
        if isinstance(node, ast.Subscript):
            return self.of(node.value, frame, depth + 1)
        if isinstance(node, ast.Tuple | ast.List) and node.elts:
            return self._joined(node.elts, frame, depth)
        if isinstance(node, ast.Compare):
            return self._cut(self.of(node.left, frame, depth + 1), node, frame)
        if isinstance(node, ast.Attribute):
            return self._attribute(node, frame, depth + 1)
        return self._name(node, frame, depth + 1) if isinstance(node, ast.Name) else UNKNOWN

    def _attribute(self, node: ast.Attribute, frame: Frame, depth: int) -> Grad:
        if node.attr == "data":
            return self._cut(self.of(node.value, frame, depth), node, frame)
        if node.attr in ("shape", "ndim", "dtype", "device"):
            return NONE
        if node.attr in ("T", "mT", "loss", "logits", "last_hidden_state"):
            return self.of(node.value, frame, depth)
        return UNKNOWN

    def _name(self, node: ast.Name, frame: Frame, depth: int) -> Grad:
        assigns = self.flow.reaching(node.id, node, frame.function)
        if not assigns and node.id in frame.bound:
            return self.of(*frame.bound[node.id], depth)
        if not assigns:
            return NONE if names.TARGET_NAME.search(node.id) and node.id in frame.function.params else UNKNOWN
        if self.flow.mutated(node.id, frame.function):
            return UNKNOWN
        return join(self._assigned(a, frame, depth) for a in assigns)

    def _assigned(self, assign: Assign, frame: Frame, depth: int) -> Grad:
        if assign.how == "for":
            return self._element(assign.value, frame)
        if assign.how == "with":
            return UNKNOWN
        if assign.how.startswith("[") and isinstance(assign.value, ast.Call):
            found = self._part(assign.value, int(assign.how[1:-1]), frame, depth)
            if found is not None:
                return found
        return self.of(assign.value, frame, depth)

    def _part(self, call: ast.Call, place: int, frame: Frame, depth: int) -> Grad | None:
        """One of several values that a function of the project gives at once."""
        target = self.project.target(call, frame.function)
        if not isinstance(target, Function):
            return None
        inner = self.values.enter(call, target, frame)
        parts = [r.elts[place] for r in target.returns if isinstance(r, ast.Tuple) and place < len(r.elts)]
        return join(self.of(p, inner, depth + 1) for p in parts) if parts and inner.depth < 5 else UNKNOWN

    def _element(self, value: ast.expr | None, frame: Frame) -> Grad:
        """What a loop takes from a loader is data."""
        while isinstance(value, ast.Call) and value.args and dotted(value.func).rpartition(".")[2] in COUNTING:
            value = value.args[0]
        return NONE if value is not None and self.values.kind(value, frame).name == "loader" else UNKNOWN

    def _call(self, call: ast.Call, frame: Frame, depth: int) -> Grad:
        full, func = frame.function.source.called(call), call.func
        if full in ENDS or full == "torch.autograd.Variable":
            return self._end(call, full, frame, depth)
        if full in names.FACTORIES:
            return FLOWS if constant(keyword(call, "requires_grad")) is True else NONE
        method = func.attr if isinstance(func, ast.Attribute) and not full.startswith(("torch.", "numpy.")) else ""
        if method in CUTTING and self.values.kind(func, frame).name == "":
            assert isinstance(func, ast.Attribute)
            return self._cut(self.of(func.value, frame, depth), call, frame)
        if method == "requires_grad_" and isinstance(func, ast.Attribute):
            inner = self.of(func.value, frame, depth)
            return inner if inner.state == "cut" else FLOWS
        kind = self.values.kind(func, frame)
        if kind.name == "loss" or names.is_functional_loss(full):
            return self._loss(call, frame, depth)
        target = self.project.target(call, frame.function)
        if kind.name == "model" and not isinstance(target, Class):
            return self._model(call, frame, depth)
        if isinstance(target, Function):
            return self._returned(self.values.enter(call, target, frame), depth)
        if (
            full == "sum"
            or (full[:6] in ("torch.", "numpy.") and full[6:] in KEEPING_FUNCTIONS)
            or full.startswith("torch.nn.functional.")
        ):
            return self._off(self._joined(call.args, frame, depth), call, frame)
        if method in KEEPING and isinstance(func, ast.Attribute):
            return self._joined((func.value, *call.args), frame, depth)
        if dotted(func) == "self":
            return self._off(FLOWS, call, frame)
        return UNKNOWN

    def _end(self, call: ast.Call, full: str, frame: Frame, depth: int) -> Grad:
        """A value made anew from numbers; that it asks for gradients itself hides what was cut."""
        inner = self._joined(call.args[:1], frame, depth)
        if full == "torch.autograd.Variable":
            return inner
        if constant(keyword(call, "requires_grad")) is True and inner.state not in ("flows", "cut"):
            return FLOWS
        return self._cut(inner, call, frame)

    def _loss(self, call: ast.Call, frame: Frame, depth: int) -> Grad:
        first = argument(call, 0, "input")
        if first is None:
            return UNKNOWN
        mine = self.of(first, frame, depth)
        if mine.state == "flows":
            return self._off(FLOWS, call, frame)
        others = []
        for one in call.args[1:]:
            theirs = self.of(one, frame, depth)
            if theirs.state == "unknown" and names.TARGET_NAME.search(dotted(one)):
                theirs = NONE
            others.append(theirs)
        return self._off(join([mine, *others]), call, frame)

    def _model(self, call: ast.Call, frame: Frame, depth: int) -> Grad:
        kind = self.values.kind(call.func, frame)
        found = FLOWS
        forward = self.project.method(kind.home, "forward") if kind.home is not None else None
        if forward is not None and frame.depth < 4:
            inside = self._returned(self.values.enter(call, forward, frame), depth)
            found = inside if inside.state == "cut" else FLOWS
        return self._off(found, call, frame)

    def _returned(self, frame: Frame, depth: int) -> Grad:
        returns = frame.function.returns
        if frame.depth > 4 or not returns:
            return UNKNOWN
        found = join(self.of(r, frame, depth + 1) for r in returns)
        return self._off(found, frame.function.node, frame) if self._decorated(frame.function) else found

    def _off(self, found: Grad, node: ast.AST, frame: Frame) -> Grad:
        """What a computation gives where gradients are switched off."""
        if found.state == "flows" and (self._switched_off(node, frame) or self._decorated(frame.function)):
            return Grad("cut", node, frame.function)
        return found

    def _decorated(self, function: Function) -> bool:
        source = function.source
        return any(
            source.resolve(d.func if isinstance(d, ast.Call) else d) in names.NO_GRAD for d in function.decorators
        )

    def _switched_off(self, node: ast.AST, frame: Frame) -> bool:
        source = frame.function.source
        for one in source.above(node):
            if one in source.owners:
                return False
            if isinstance(one, ast.With):
                for item in one.items:
                    made = item.context_expr
                    full = source.called(made) if isinstance(made, ast.Call) else ""
                    if full in names.NO_GRAD:
                        return not (isinstance(made, ast.Call) and made.args)
                    if full in ("torch.enable_grad", "torch.set_grad_enabled"):
                        return False
        return False

    @staticmethod
    def _cut(inner: Grad, node: ast.AST, frame: Frame) -> Grad:
        if inner.state == "flows":
            return Grad("cut", node, frame.function)
        return Grad("off", node, frame.function) if inner.state == "unknown" else inner

    def _joined(self, nodes: Sequence[ast.expr], frame: Frame, depth: int) -> Grad:
        return join(self.of(n.value if isinstance(n, ast.Starred) else n, frame, depth + 1) for n in nodes)


def join(found: Iterable[Grad]) -> Grad:
    """What is known of a value that comes from several: the strongest of them."""
    return min(found, key=lambda g: RANK.index(g.state), default=UNKNOWN)
