"""What a program does with torch, as it happens: told by the patches, kept as little as can be, handed to the rules."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import peek_interpreter_stack
from torch.optim import Optimizer

from torchkiln.checks import catalogue
from torchkiln.checks.finding import Finding
from torchkiln.checks.guard import graph, place, rules
from torchkiln.checks.guard.known import Call, Model, Stepping, tensors

CLOSELY = 12
"""Steps that are looked at in full; later ones only where a rule says so."""
WALKED = 3
"""Steps whose graphs are read."""
CALLS_KEPT = 64
INNER_CALLS = 3
"""Forwards of a model of which the modules inside are noted."""


@dataclass(frozen=True)
class Loss:
    """A call of one of torch's loss functions.

    Args:
        name: Such as cross_entropy.
        input, target: As given.
        given: Its other arguments, by name.
        output: What it gave.
        grad: Whether gradients were recorded.
    """

    name: str
    input: Tensor
    target: Tensor
    given: dict[str, Any]
    output: Tensor
    grad: bool


class Watch:
    """Follows one program.

    Args:
        tell: Is given each finding once.
        checks: The rules; by default all that watch.
    """

    def __init__(self, tell: Callable[[Finding], None], checks: Sequence[type] | None = None) -> None:
        self.tell = tell
        self.thread, self.process = threading.get_ident(), os.getpid()
        self.busy = self.in_backward = False
        self.depth = self.step = 0
        self.running: nn.Module | None = None
        """The model that is being called."""
        self.inner: Model | None = None
        self.optimizers: dict[int, Stepping] = {}
        self.models: dict[int, Model] = {}
        self.calls: list[Call] = []
        """Forwards with gradients since the last step."""
        self.last: Call | None = None
        self.told: set[tuple[str, str]] = set()
        self.broken: list[tuple[str, Exception]] = []
        self.note: Callable[[dict[str, Any]], None] = lambda noted: None
        """Is given what only makes sense beside what other processes note."""
        self.leaves: dict[int, Tensor] = {}
        """Where gradients of the backward passes since the last step end; read at the first steps alone."""
        self.loader: weakref.ref[Any] | None = None
        """The loader that gave the newest batch."""
        self._grads: dict[int, tuple[int, int]] = {}
        self.checks = [check(self) for check in (rules.watching() if checks is None else checks)]
        self._handlers: dict[str, list[Callable[..., None]]] = {}
        for check in self.checks:
            for name in dir(check):
                if name.startswith("on_"):
                    self._handlers.setdefault(name, []).append(getattr(check, name))

    @property
    def closely(self) -> bool:
        """Whether these are the first steps."""
        return self.step < CLOSELY

    @property
    def off(self) -> bool:
        """Whether what happens now is the guard's own doing, not in the main thread, or within torch.func."""
        return self.busy or threading.get_ident() != self.thread or peek_interpreter_stack() is not None

    def found(self, rule: str, state: str, message: str, *, about: str = "", at: place.Place | None = None) -> None:
        """Tell of something, once for each `about`; a FAIL after a WARN of the same is told too."""
        if {(rule, about + "FAIL"), (rule, about + state)} & self.told:
            return
        self.told.add((rule, about + state))
        page = catalogue.page(rule)
        where = at or place.here()
        self.tell(
            Finding(rule=rule, state=state, title=page.title, message=message, why=page.why, fix=page.fix,
                    confidence=page.confidence if state == "FAIL" else min(page.confidence, 0.7), step=self.step,
                    file=where.file if where else None, line=where.line if where else None)
        )  # fmt: skip

    def event(self, name: str, *about: Any) -> None:
        """Hand something to the rules; one that fails is left out from then on, and the program goes on."""
        handlers = self._handlers.get(name)
        if not handlers:
            return
        self.busy = True
        try:
            for handler in tuple(handlers):
                try:
                    handler(*about)
                except Exception as error:
                    self.broken.append((name, error))
                    handlers.remove(handler)
        finally:
            self.busy = False

    # Models

    def model(self, module: nn.Module) -> Model | None:
        """What is known of a module; None if it has no parameters."""
        known = self.models.get(id(module))
        if known is not None and known.ref() is module:
            return known
        if next(module.parameters(), None) is None:
            return None
        found = self.models[id(module)] = Model(weakref.ref(module))
        return found

    def forwarded(self, model: Model, module: nn.Module, given: tuple[Any, dict[str, Any]], output: Any) -> None:
        """A model was called."""
        grad, training = torch.is_grad_enabled(), module.training
        model.forwards += 1
        out = tensors(output, 1)
        call = Call(model, training, grad, self.step, [weakref.ref(t) for t in tensors(given)],
                    weakref.ref(out[0]) if out else None,
                    alone=not given[1] and len(given[0]) == 1 and isinstance(given[0][0], Tensor))  # fmt: skip
        self.last = call
        if not training:
            model.was_in_eval = True
        if grad:
            self.calls.append(call)
            del self.calls[:-CALLS_KEPT]
        if not (grad and training):
            model.evaluations += 1
        self.event("on_forward", call)

    def note_inner(self, module: nn.Module) -> None:
        """A module was called inside the model that is running."""
        if self.inner is not None and torch.is_grad_enabled():
            self.inner.inner.setdefault(id(module), weakref.ref(module))

    # Optimizers

    def optimizer(self, optimizer: Optimizer) -> Stepping:
        """What is known of an optimizer."""
        known = self.optimizers.get(id(optimizer))
        if known is None or known.ref() is not optimizer:
            known = self.optimizers[id(optimizer)] = Stepping(weakref.ref(optimizer))
            self.event("on_optimizer", known)
        return known

    def living(self) -> list[Stepping]:
        """The optimizers that are still there."""
        return [s for s in self.optimizers.values() if s.ref() is not None]

    def owned(self) -> set[int]:
        """Ids of the parameters of all optimizers."""
        return {id(p) for s in self.living() for p in s.parameters}

    def backward_begins(self, root: Tensor, given: dict[str, Any]) -> None:
        """A backward pass is about to start at a loss."""
        if self.closely:
            self._grads = {
                id(p): (id(p.grad), p.grad._version)
                for s in self.living() for p in s.parameters if p.grad is not None
            }  # fmt: skip
            for stepping in self.living():
                self._look_for_stale(stepping)
        if self.step < WALKED:
            self.leaves |= graph.walk(root).leaves
        self.event("on_backward", root, given)

    def _look_for_stale(self, stepping: Stepping) -> None:
        """Note gradients that a step has used and nothing has cleared since."""
        for p in stepping.parameters:
            now, grad = self._grads.get(id(p)), p.grad
            if now is None or grad is None:
                stepping.stale.discard(id(p))
            elif id(p) in stepping.stale or stepping.used.get(id(p)) == now:
                if bool(grad.any()):
                    stepping.stale.add(id(p))
                else:  # it was cleared by hand
                    stepping.stale.discard(id(p))

    def backward_ended(self, root: Tensor, given: dict[str, Any]) -> None:
        """It ended, and left gradients."""
        for stepping in self.living():
            if not self.closely or any(self._is_new(p) for p in stepping.parameters):
                stepping.reached, stepping.lost = True, False
                stepping.backwards += 1
        self.event("on_backward_end", root, given)

    def _is_new(self, parameter: Tensor) -> bool:
        grad = parameter.grad
        return grad is not None and self._grads.get(id(parameter)) != (id(grad), grad._version)

    def cleared(self, stepping: Stepping) -> None:
        """The gradients of an optimizer were cleared."""
        self.event("on_clear", stepping)
        stepping.lost = stepping.lost or stepping.reached
        stepping.reached = False
        stepping.used, stepping.stale = {}, set()

    def cleared_in(self, module: nn.Module) -> None:
        """The gradients of a module were cleared."""
        if not self.closely:
            return
        inside = {id(p) for p in module.parameters()}
        for stepping in self.living():
            if all(id(p) in inside for p in stepping.parameters):
                self.cleared(stepping)

    def steps(self, optimizer: Optimizer, has_closure: bool) -> None:
        """An optimizer is about to take a step."""
        stepping = self.optimizer(optimizer)
        taken_away = not has_closure and not any(p.grad is not None for p in stepping.parameters)
        if stepping.reached and taken_away:  # by hand, or they are of another model
            stepping.reached, stepping.lost = False, True
        stepping.in_step = True
        self.event("on_step_begin", stepping)

    def stepped(self, optimizer: Optimizer) -> None:
        """An optimizer has taken a step."""
        stepping = self.optimizer(optimizer)
        self.event("on_step", stepping)
        stepping.steps += 1
        self.step = max(self.step, stepping.steps)
        if self.closely:
            stepping.used = {
                id(p): (id(p.grad), p.grad._version) for p in stepping.parameters if p.grad is not None
            }  # fmt: skip
        for call in self.calls:
            call.model.trained += 1
        stepping.stale = set()
        stepping.reached = stepping.lost = stepping.skipped = stepping.in_step = False
        stepping.backwards = 0
        self.calls = []
        self.leaves = {}
