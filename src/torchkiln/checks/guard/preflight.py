"""One batch of a person's own model, tried before it trains: on copies, so that the model keeps every bit."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from torchkiln.checks import catalogue
from torchkiln.checks.finding import Finding
from torchkiln.checks.guard import rules
from torchkiln.checks.guard.probe import MOST_PARAMETERS, devices, unseen

SECONDS = 8.0
"""No further check begins after these."""


@dataclass(frozen=True)
class Subject:
    """What is tried.

    Args:
        net: As it is about to be trained; it is never called itself.
        batch: Samples, as `forward` takes them; tensors as long as `index` are cut where samples are taken apart.
        forward: (net, batch) -> output.
        loss: (output, batch) -> mean loss, a scalar.
        predict: output -> predictions, as people see them; None: not known.
        parts: (batch, count) -> (part, what its mean loss counts), which together are the batch.
        optimizer: net -> a fresh optimizer of it.
        kind: classes: outputs are scores [batch, classes]; number: [batch]; none: not known.
    """

    net: nn.Module
    batch: Any
    forward: Callable[[nn.Module, Any], Any]
    loss: Callable[[Any, Any], Tensor]
    parts: Callable[[Any, int], list[tuple[Any, float]]]
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    predict: Callable[[Tensor], Tensor] | None = None
    kind: str = "none"


@dataclass
class Trial:
    """What the checks share: copies of the net, and the outputs of one evaluation.

    Args:
        subject: What is tried.
        until: When to be done, as time.monotonic says it.
    """

    subject: Subject
    until: float
    _kept: dict[str, Any] = field(default_factory=dict)

    def copy(self, training: bool) -> nn.Module:
        """A copy of the net."""
        return copy.deepcopy(self.subject.net).train(training)

    @property
    def target(self) -> Tensor | None:
        """The batch's targets, where they are a tensor of their own."""
        batch = self.subject.batch
        found = batch.get("target") if isinstance(batch, dict) else None
        return found if isinstance(found, Tensor) else None

    @property
    def output(self) -> Any:
        """What the net gives in evaluation mode."""
        if "output" not in self._kept:
            with torch.no_grad():
                self._kept["output"] = self.subject.forward(self.copy(training=False), self.subject.batch)
        return self._kept["output"]

    def gradients(self, net: nn.Module, batch: Any, share: float = 1.0) -> Tensor:
        """Run forward and backward, adding to the gradients of `net`; gives the loss, detached."""
        with torch.enable_grad():
            loss = self.subject.loss(self.subject.forward(net, batch), batch)
            (loss * share).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    @contextmanager
    def seeded(self) -> Iterator[None]:
        """The same random numbers each time."""
        with torch.random.fork_rng(devices()):
            torch.manual_seed(0)
            yield


Verdict = tuple[str, str]
"""A state and what was seen."""


def preflight(subject: Subject, seconds: float = SECONDS) -> list[Finding]:
    """Try all checks within a time; each gives a finding, PASS included, or none where it does not apply."""
    if sum(p.numel() for p in subject.net.parameters()) > MOST_PARAMETERS:
        return []
    trial = Trial(subject, time.monotonic() + seconds)
    found = []
    with unseen():
        for module in rules.modules():
            if not hasattr(module, "preflight") or time.monotonic() > trial.until:
                continue
            rule = module.__name__.rpartition(".")[2][:4].upper()
            try:
                verdict: Verdict | None = module.preflight(trial)
            except Exception:  # what the training itself will tell, or what this check cannot try
                continue
            if verdict is not None:
                found.append(_finding(rule, *verdict))
    return found


def _finding(rule: str, state: str, message: str) -> Finding:
    page = catalogue.page(rule)
    return Finding(rule=rule, state=state, title=page.title, message=message, why=page.why, fix=page.fix,
                   confidence=page.confidence, step=0)  # fmt: skip
