"""Wrappers round torch's own functions that tell a watch what a program does; what they give is untouched."""

from __future__ import annotations

import builtins
import functools
import inspect
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.optim import Optimizer, lr_scheduler
from torch.optim import optimizer as optimizers
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from torchkiln.checks.guard import place
from torchkiln.checks.guard.known import is_not_finite, tensors
from torchkiln.checks.guard.watch import INNER_CALLS, Loss, Watch

LOSSES = ("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss",
          "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div")  # fmt: skip
CLIPS = ("clip_grad_norm_", "clip_grad_value_")

Around = Callable[..., Any]
"""(the function that is wrapped, its arguments ...) -> what it gives."""


class Patches:
    """Puts the wrappers in place while it is entered.

    Args:
        watch: Who is told.
    """

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._undo: list[Callable[[], None]] = []
        self._wrapped_names: list[tuple[Any, str, Any, Any, bool]] = []
        """(owner, name, what was there, the wrapper, whether it was the owner's own)"""

    def __enter__(self) -> Watch:
        self._models()
        self._losses()
        self._backward()
        self._optimizers()
        self._schedulers()
        self._scaler()
        self._loaders()
        self._metrics()
        self._warnings()
        self._scripting()
        return self.watch

    def _scripting(self) -> None:
        """torch.jit.script compiles functions from their source, where a wrapper has no place."""

        def script(before: Any, *args: Any, **kwargs: Any) -> Any:
            for owner, name, function, _, own in reversed(self._wrapped_names):
                setattr(owner, name, function) if own else delattr(owner, name)
            try:
                return before(*args, **kwargs)
            finally:
                for owner, name, _, wrapper, _ in self._wrapped_names:
                    setattr(owner, name, wrapper)

        self._wrap(torch.jit, "script", script)

    def __exit__(self, *error: object) -> None:
        self.watch.event("on_end")
        for undo in reversed(self._undo):
            undo()
        self._undo = []

    def _wrap(self, owner: Any, name: str, around: Around, often: bool = False) -> None:
        """Put `around` in the place of a function; while torch.compile reads a program, it is not there.

        Args:
            owner, name: Of the function.
            around: Is called in its place.
            often: It is called at each step, and passed by while the watch is calm.
        """
        before = getattr(owner, name)
        watch = self.watch

        @functools.wraps(before)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if is_compiling() or (often and watch.calm) or watch.off:
                return before(*args, **kwargs)
            return around(before, *args, **kwargs)

        own = name in vars(owner)

        def undo() -> None:
            if vars(owner).get(name) is wrapper:
                setattr(owner, name, before) if own else delattr(owner, name)

        setattr(owner, name, wrapper)
        self._undo.append(undo)
        self._wrapped_names.append((owner, name, before, wrapper, own))

    def _models(self) -> None:
        watch, before = self.watch, nn.Module.__call__

        @functools.wraps(before)
        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if is_compiling():
                return before(module, *args, **kwargs)
            if watch.depth:
                if watch.inner is not None and not watch.off:
                    watch.note_inner(module)
                return before(module, *args, **kwargs)
            if watch.calm and ((module.training and torch.is_grad_enabled()) or not watch.attend()):
                watch.depth = 1  # for modules inside, which may be in another mode
                try:
                    return before(module, *args, **kwargs)
                finally:
                    watch.depth = 0
            if watch.off:
                return before(module, *args, **kwargs)
            model = watch.model(module)
            if model is None:
                return before(module, *args, **kwargs)
            watch.depth, watch.running = 1, module
            watch.inner = model if model.forwards < INNER_CALLS else None
            try:
                output = before(module, *args, **kwargs)
            finally:
                watch.depth, watch.running, watch.inner = 0, None, None
            watch.forwarded(model, module, (args, kwargs), output)
            return output

        nn.Module.__call__ = call  # type: ignore[method-assign]

        def undo() -> None:
            if nn.Module.__call__ is call:
                nn.Module.__call__ = before  # type: ignore[method-assign]

        self._undo.append(undo)
        self._wrap(nn.Module, "zero_grad", self._module_zero_grad, often=True)
        self._wrap(nn.Module, "load_state_dict", self._load)
        self._wrap(nn.parallel.DistributedDataParallel, "__init__", self._wrapped)
        self._wrap(nn.Module, "state_dict", self._state)
        self._wrap(AveragedModel, "update_parameters", self._averaged)

    def _module_zero_grad(self, before: Any, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        done = before(module, *args, **kwargs)
        self.watch.cleared_in(module)
        return done

    def _load(self, before: Any, module: nn.Module, state: Any, *args: Any, **kwargs: Any) -> Any:
        result = before(module, state, *args, **kwargs)
        self.watch.event("on_load", module, list(state), result)
        return result

    def _wrapped(self, before: Any, wrapper: Any, *args: Any, **kwargs: Any) -> None:
        before(wrapper, *args, **kwargs)
        self.watch.event("on_wrapper", wrapper)

    def _state(self, before: Any, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        self.watch.event("on_state", module)
        self.watch.busy = True  # it asks all modules within
        try:
            return before(module, *args, **kwargs)
        finally:
            self.watch.busy = False

    def _averaged(self, before: Any, average: Any, model: Any) -> None:
        before(average, model)
        self.watch.event("on_average", average)

    # Losses and backward

    def _losses(self) -> None:
        for name in LOSSES:
            signature = inspect.signature(getattr(F, name))
            self._wrap(F, name, functools.partial(self._loss, name, tuple(signature.parameters)), often=True)

    def _loss(self, name: str, order: tuple[str, ...], before: Any, *args: Any, **kwargs: Any) -> Any:
        output = before(*args, **kwargs)
        given = {**dict(zip(order, args, strict=False)), **kwargs}
        if isinstance(given.get("input"), Tensor) and isinstance(given.get("target"), Tensor):
            loss = Loss(name, given.pop("input"), given.pop("target"), given, output, torch.is_grad_enabled())
            self.watch.event("on_loss", loss)
        return output

    def _backward(self) -> None:
        watch = self.watch

        def backward(before: Any, roots: Any, *args: Any, **kwargs: Any) -> Any:
            if watch.wants_losses and isinstance(roots, Tensor):
                watch.losses.append(roots.detach())
            if watch.calm and not is_not_finite(roots):
                return before(roots, *args, **kwargs)
            found = tensors(roots)
            if watch.in_backward or not found:
                return before(roots, *args, **kwargs)
            names = ("grad_tensors", "retain_graph", "create_graph", "grad_variables", "inputs")
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            watch.backward_begins(found[0], given)
            watch.in_backward = True
            try:
                before(roots, *args, **kwargs)
            finally:
                watch.in_backward = False
            watch.backward_ended(found[0], given)

        self._wrap(torch.autograd, "backward", backward)

    # Optimizers and what is beside them

    def _optimizers(self) -> None:
        watch = self.watch

        def made(before: Any, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
            before(optimizer, *args, **kwargs)
            watch.optimizer(optimizer)

        def zero_grad(before: Any, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
            before(optimizer, *args, **kwargs)
            watch.cleared(watch.optimizer(optimizer))

        def begins(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
            if not watch.calm and not watch.off:
                watch.steps(optimizer, has_closure=bool([*args[1:], *kwargs.values()]))

        def ended(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
            if not watch.off:
                watch.stepped(optimizer)

        self._wrap(Optimizer, "__init__", made)
        self._wrap(Optimizer, "zero_grad", zero_grad, often=True)
        self._undo.append(optimizers.register_optimizer_step_pre_hook(begins).remove)
        self._undo.append(optimizers.register_optimizer_step_post_hook(ended).remove)
        for owner in (nn.utils, nn.utils.clip_grad):
            for name in CLIPS:
                self._wrap(owner, name, functools.partial(self._clip, name), often=True)

    def _clip(self, name: str, before: Any, parameters: Any, *args: Any, **kwargs: Any) -> Any:
        known = parameters
        if not isinstance(parameters, Tensor | list | tuple):
            known = list(parameters)
            parameters = (p for p in known)  # as a generator, since torch warns of empty ones
        self.watch.event("on_clip", name, [known] if isinstance(known, Tensor) else list(known))
        self.watch.busy = True  # clip_grad_norm_ may be defined by way of others that are wrapped
        try:
            return before(parameters, *args, **kwargs)
        finally:
            self.watch.busy = False

    def _schedulers(self) -> None:
        watch = self.watch

        def made(before: Any, scheduler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            watch.busy = True  # it takes a step of its own
            try:
                before(scheduler, optimizer, *args, **kwargs)
            finally:
                watch.busy = False
            if isinstance(optimizer, Optimizer):
                stepping = watch.optimizer(optimizer)
                stepping.schedulers.append(weakref.ref(scheduler))
                watch.event("on_scheduler", stepping, scheduler)

        def step(before: Any, scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            watch.event("on_schedule", scheduler, args, kwargs)
            watch.busy = True  # one scheduler may step others
            try:
                return before(scheduler, *args, **kwargs)
            finally:
                watch.busy = False

        kinds = [
            k for k in vars(lr_scheduler).values() if isinstance(k, type) and issubclass(k, lr_scheduler.LRScheduler)
        ]
        for kind in dict.fromkeys(kinds):
            if "__init__" in vars(kind):
                self._wrap(kind, "__init__", made)
            # Within `step`, whose warnings are said to be where it was called.
            if name := next((n for n in ("_update_lr", "step") if n in vars(kind)), None):
                self._wrap(kind, name, step)

    def _scaler(self) -> None:
        watch = self.watch

        def telling(event: str) -> Around:
            def around(before: Any, scaler: Any, *args: Any, **kwargs: Any) -> Any:
                done = before(scaler, *args, **kwargs)
                if scaler.is_enabled():
                    watch.event(event, scaler, args, done)
                return done

            return around

        def step(before: Any, scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            stepping = watch.optimizer(optimizer)
            steps = stepping.steps
            if scaler.is_enabled():
                watch.event("on_scaler_step", scaler, stepping)
            done = before(scaler, optimizer, *args, **kwargs)
            if stepping.steps == steps:
                watch.event("on_skip", scaler, stepping)
                stepping.skipped = True
            return done

        for name in ("scale", "unscale_", "scaler_update", "scale_asked"):
            method = {"scaler_update": "update", "scale_asked": "get_scale"}.get(name, name)
            self._wrap(torch.amp.GradScaler, method, telling(f"on_{name.rstrip('_')}"))
        self._wrap(torch.amp.GradScaler, "step", step)

    # Data and metrics

    def _loaders(self) -> None:
        watch = self.watch

        def begins(before: Any, loader: DataLoader[Any]) -> Any:
            iterator = before(loader)
            iterator._guarded_loader = loader
            watch.event("on_epoch", loader)
            return iterator

        def following(before: Any, iterator: Any) -> Any:
            loader = getattr(iterator, "_guarded_loader", None)
            try:
                batch = before(iterator)
            except StopIteration:
                if loader is not None:
                    watch.event("on_epoch_end", loader, iterator)
                raise
            if loader is not None:
                watch.loader = weakref.ref(loader)
                watch.event("on_batch", loader, iterator, batch)
            return batch

        self._wrap(DataLoader, "__iter__", begins)
        self._wrap(_BaseDataLoaderIter, "__next__", following)

    def _metrics(self) -> None:
        watch = self.watch

        def compared(before: Any, left: Any, right: Any, **kwargs: Any) -> Any:
            result = before(left, right, **kwargs)
            if isinstance(right, Tensor) and isinstance(result, Tensor) and not watch.depth and not watch.in_backward:
                watch.event("on_compare", left, right, result)
            return result

        def largest(before: Any, tensor: Any, *args: Any, **kwargs: Any) -> Any:
            result = before(tensor, *args, **kwargs)
            dim = kwargs.get("dim", args[0] if args else None)
            if isinstance(dim, int) and not watch.depth and not watch.in_backward:
                watch.event("on_argmax", tensor, dim)
            return result

        for owner in (Tensor, torch):
            self._wrap(owner, "eq", compared, often=True)
            for name in ("argmax", "max"):
                self._wrap(owner, name, largest, often=True)
        self._wrap(Tensor, "__eq__", compared, often=True)

        def indexed(before: Any, tensor: Tensor, index: Any) -> Any:
            result = before(tensor, index)
            if isinstance(index, Tensor) and watch.closely and not watch.depth and not watch.in_backward:
                watch.event("on_index", tensor, index, result)
            return result

        self._wrap(Tensor, "__getitem__", indexed, often=True)
        self._wrap(F, "dropout", self._dropout, often=True)
        self._wrap(torch, "manual_seed", self._seed)

        def printed(before: Any, *values: Any, **kwargs: Any) -> None:
            watch.event("on_print", values)
            before(*values, **kwargs)

        self._wrap(builtins, "print", printed, often=True)

    def _dropout(self, before: Any, input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
        self.watch.event("on_dropout", p, training)
        return before(input, p, training, inplace)

    def _seed(self, before: Any, seed: Any) -> Any:
        self.watch.event("on_seed", seed)
        return before(seed)

    def _warnings(self) -> None:
        """Warnings that are shown; what shows them is looked up at each."""

        def shown(before: Any, message: Any) -> Any:
            at = place.here() if message.filename.startswith(place.OURS) else None
            if at is not None:  # what was called through a wrapper is said to be called where it was
                message.filename, message.lineno = at.file, at.line
            self.watch.event("on_warning", str(message.message), message.category, message.filename)
            return before(message)

        self._wrap(warnings, "_showwarnmsg", shown)
