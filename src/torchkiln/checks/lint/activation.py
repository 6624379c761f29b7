"""Which activation made a value: softmax, sigmoid, their logarithms, or a plain linear layer."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from torchkiln.checks.lint.flow import SHAPING, Flow
from torchkiln.checks.lint.source import Function, argument, dotted
from torchkiln.checks.lint.values import Frame

FUNCTIONS = {
    "torch.softmax": "softmax",
    "torch.log_softmax": "log_softmax",
    "torch.sigmoid": "sigmoid",
    "torch.nn.functional.logsigmoid": "log_sigmoid",
    "torch.nn.functional.linear": "linear",
    "torch.nn.functional.gumbel_softmax": "softmax",
}
METHODS = {"softmax": "softmax", "log_softmax": "log_softmax", "sigmoid": "sigmoid", "sigmoid_": "sigmoid"}
LAYERS = {
    "torch.nn.Softmax": "softmax",
    "torch.nn.Softmax2d": "softmax",
    "torch.nn.LogSoftmax": "log_softmax",
    "torch.nn.Sigmoid": "sigmoid",
    "torch.nn.LogSigmoid": "log_sigmoid",
    "torch.nn.Linear": "linear",
    "torch.nn.LazyLinear": "linear",
    "torch.nn.Bilinear": "linear",
    "torch.nn.Conv1d": "linear",
    "torch.nn.Conv2d": "linear",
    "torch.nn.Conv3d": "linear",
}
DEEPEST = 12
LOGS = {"softmax": "log_softmax", "sigmoid": "log_sigmoid"}


class Activations:
    """Tells activations.

    Args:
        flow: Definitions over the project.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow, self.values, self.project = flow, flow.values, flow.project

    def of(self, node: ast.expr, frame: Frame, depth: int = 0) -> str:
        """`softmax`, `log_softmax`, `sigmoid`, `log_sigmoid`, `linear`, or "" where that is not certain."""
        if depth > DEEPEST:
            return ""
        node, frame = self.values.follow(node, frame)
        if isinstance(node, ast.Call):
            return self._call(node, frame, depth)
        if isinstance(node, ast.Subscript):
            return self.of(node.value, frame, depth + 1)
        if isinstance(node, ast.IfExp):
            return _agreed([self.of(node.body, frame, depth + 1), self.of(node.orelse, frame, depth + 1)])
        if isinstance(node, ast.NamedExpr):
            return self.of(node.value, frame, depth + 1)
        key = dotted(node)
        if key and "." not in key:
            return self._name(key, node, frame, depth)
        return ""

    def _name(self, key: str, node: ast.expr, frame: Frame, depth: int) -> str:
        found = []
        reaching = self.flow.reaching(key, node, frame.function)
        if not reaching and key in frame.bound:
            return self.of(*frame.bound[key], depth + 1)
        for assign in reaching:
            if assign.value is None or assign.how in ("+=", "for", "with"):
                return ""
            if assign.how == "=":
                found.append(self.of(assign.value, frame, depth + 1))
            else:
                found.append(self._part(assign.value, int(assign.how[1:-1]), frame, depth))
        return "" if self.flow.mutated(key, frame.function) else _agreed(found)

    def _part(self, value: ast.expr, place: int, frame: Frame, depth: int) -> str:
        if not isinstance(value, ast.Call):
            return ""
        entered = self._entered(value, frame)
        if entered is None:
            return ""
        returns = [r for r in entered.function.returns if isinstance(r, ast.Tuple) and place < len(r.elts)]
        if len(returns) != len(entered.function.returns):
            return ""
        return _agreed([self.of(r.elts[place], entered, depth + 1) for r in returns])

    def _call(self, call: ast.Call, frame: Frame, depth: int) -> str:
        full = frame.function.source.called(call)
        if full in FUNCTIONS:
            return FUNCTIONS[full]
        func = call.func
        if full == "torch.log" and call.args:
            return self._log(call.args[0], frame, depth)
        if full in ("torch.squeeze", "torch.flatten", "torch.clamp", "torch.reshape", "torch.unsqueeze") and call.args:
            return self.of(call.args[0], frame, depth + 1)
        if isinstance(func, ast.Attribute) and not full.startswith("torch."):
            is_model = self.values.kind(func, frame).name in ("model", "instance")
            if func.attr in METHODS and not is_model and self.project.target(call, frame.function) is None:
                return METHODS[func.attr]
            if func.attr == "log" and not call.args:
                return self._log(func.value, frame, depth)
            if func.attr in SHAPING and not is_model:
                return self.of(func.value, frame, depth + 1)
            if func.attr == "forward":
                return self.of_model(func.value, frame, depth + 1)
        entered = self._entered(call, frame)
        if entered is not None:
            return self._returned(entered, depth)
        return self.of_model(func, frame, depth + 1)

    def _log(self, node: ast.expr, frame: Frame, depth: int) -> str:
        """The logarithm of a value, perhaps with a small number added."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            node = node.left
        return LOGS.get(self.of(node, frame, depth + 1), "")

    def of_model(self, model: ast.expr, frame: Frame, depth: int = 0) -> str:
        """What the last layer of a model, or a layer itself, gives."""
        if depth > DEEPEST:
            return ""
        if dotted(model) == "self":
            home = self.project.home(frame.function)
            forward = self.project.method(home, "forward") if home else None
            return self._returned(self.values.frame(forward), depth) if forward else ""
        kind = self.values.kind(model, frame)
        if kind.home is not None and kind.name == "model":
            forward = self.project.method(kind.home, "forward")
            return self._returned(self.values.frame(forward), depth) if forward is not None else ""
        if kind.made_by in LAYERS:
            return LAYERS[kind.made_by]
        if kind.made_by == "torch.nn.Sequential":
            made = self.flow.made(model, frame)
            return self._sequential(*made, depth) if made else ""
        return ""

    def _sequential(self, call: ast.Call, frame: Frame, depth: int) -> str:
        if isinstance(call.func, ast.Attribute) and frame.function.source.called(call) != "torch.nn.Sequential":
            made = self.flow.made(call.func.value, frame) if call.func.attr in ("to", "cuda", "train") else None
            return self._sequential(*made, depth + 1) if made and depth < DEEPEST else ""
        if not call.args:
            return ""
        last = call.args[-1]
        if isinstance(last, ast.Starred):
            return ""
        if isinstance(last, ast.Call) and frame.function.source.called(last) == "collections.OrderedDict" and last.args:
            parts = self.flow.elements(last.args[0], frame)
            pair = self.flow.elements(parts[-1], frame) if parts else ()
            if len(pair) != 2:
                return ""
            last = pair[1]
        return self.of_model(last, frame, depth + 1)

    def _entered(self, call: ast.Call, frame: Frame) -> Frame | None:
        """The function of the project that is called, or a model's `forward`."""
        target = self.project.target(call, frame.function)
        if isinstance(target, Function):
            return self.values.enter(call, target, frame)
        kind = self.values.kind(call.func, frame)
        if kind.home is not None and kind.name in ("model", "instance"):
            forward = self.project.method(kind.home, "forward" if kind.name == "model" else "__call__")
            return self.values.enter(call, forward, frame) if forward is not None else None
        return None

    def _returned(self, frame: Frame, depth: int) -> str:
        if frame.depth > 6 or any(isinstance(r, ast.Tuple | ast.Dict) for r in frame.function.returns):
            return ""
        return _agreed([self.of(r, frame, depth + 1) for r in frame.function.returns])


def loss_input(call: ast.Call) -> ast.expr | None:
    """What a loss function is given as prediction."""
    return argument(call, 0, "input")


def _agreed(found: Iterable[str]) -> str:
    """What all say; "" where they differ or there are none."""
    said = set(found)
    return said.pop() if len(said) == 1 else ""
