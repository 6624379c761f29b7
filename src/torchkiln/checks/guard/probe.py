"""Tries something on a copy of a model; the model, all random numbers and what is printed stay as they are."""

from __future__ import annotations

import contextlib
import copy
import io
import random
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from torchkiln.checks.guard.known import tensors

MOST_PARAMETERS = 30_000_000
"""Larger models are not copied."""
CHANGE = 1e-3
"""Relative change of an output that is more than rounding."""


@contextlib.contextmanager
def unseen() -> Iterator[None]:
    """Whatever is drawn, printed or warned of inside leaves no trace."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 it is the program's
    quiet = io.StringIO()
    with (
        torch.random.fork_rng(devices()), contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet),
        warnings.catch_warnings(), torch.no_grad(),
    ):  # fmt: skip
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def devices() -> list[int]:
    """The GPUs whose random numbers may be drawn from."""
    begun = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return list(range(torch.cuda.device_count())) if begun else []


def copy_of(model: nn.Module) -> nn.Module | None:
    """A copy that can be tried without a trace; None where it is too large, or where calling it might be seen."""
    if sum(p.numel() for p in model.parameters()) > MOST_PARAMETERS:
        return None
    if any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules()):
        return None
    try:
        return copy.deepcopy(model)
    except Exception:  # whatever the person's own __deepcopy__ or a lock within says
        return None


def mixes(model: nn.Module, x: Tensor) -> bool:
    """Whether in evaluation mode the outputs of samples change with another sample of the batch.

    Args:
        model: Is called with x alone.
        x: [batch, ...], of floats or of whole numbers.
    """
    with unseen():
        tried = copy_of(model)
        if tried is None:
            return False
        tried.eval()
        other = x.detach().clone()
        other[0] = x[1] if not torch.equal(x[0], x[1]) else x[-1]
        outputs = []
        for batch in (x.detach(), x.detach(), other):
            try:
                found = tensors(tried(batch), 1)
            except Exception:  # it cannot be called once more, for whatever reason of its own
                return False
            if not found or not found[0].is_floating_point() or found[0].shape[:1] != x.shape[:1]:
                return False
            outputs.append(found[0])
        first, again, changed = outputs
        scale = float(first.abs().max()) or 1.0
        if float((first - again).abs().max()) > 1e-6 * scale:
            return False  # it draws random numbers in evaluation mode too
        return float((first[1:] - changed[1:]).abs().max()) > CHANGE * scale


def first_not_finite(model: nn.Module, inputs: Sequence[Tensor]) -> str:
    """The first layer whose output is not finite on inputs that are; empty if there is none."""
    found: list[str] = []
    with unseen():
        tried = copy_of(model)
        if tried is None:
            return ""
        for name, layer in tried.named_modules():
            if not list(layer.children()):
                layer.register_forward_hook(_looking(name, found))
        try:
            tried(*[x.detach() for x in inputs])
        except Exception:  # it takes more than tensors; what was found up to there stands
            return found[0] if found else ""
    return found[0] if found else ""


def _looking(name: str, found: list[str]):  # type: ignore[no-untyped-def]
    def look(layer: nn.Module, given: object, output: object) -> None:
        if any(t.is_floating_point() and not bool(torch.isfinite(t).all()) for t in tensors(output)):
            found.append(f"{name} ({type(layer).__name__})")

    return look
