"""Each check of a first batch speaks on a net that has its fault, and passes on one that has none."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchkiln.checks.guard.preflight import Subject, preflight


class Net(nn.Module):
    """A small net in which one thing can be made wrong."""

    def __init__(self, wrong: str = "") -> None:
        super().__init__()
        self.wrong = wrong
        self.body, self.norm, self.drop, self.head = (
            nn.Linear(6, 8),
            nn.BatchNorm1d(8),
            nn.Dropout(0.2),
            nn.Linear(8, 3),
        )
        if wrong == "unused":
            self.more = nn.Linear(2, 2)
        if wrong == "frozen":
            for p in (*self.body.parameters(), *self.norm.parameters()):
                p.requires_grad = False
        if wrong == "scale":
            self.head.weight.data.mul_(1000)
        if wrong == "lost":
            self._register_state_dict_hook(
                lambda module, state, prefix, meta: state.update({"head.bias": state["head.bias"] + 1})
            )

    def forward(self, x: Tensor) -> Tensor:
        h = self.drop(self.norm(self.body(x)).relu())
        if self.wrong == "mode" and self.training:
            h = h * 3
        if self.wrong == "random":
            h = F.dropout(h, 0.5)
        if self.wrong == "mixes":
            h = h - h.mean(0)
        if self.wrong == "detached":
            return self.head.weight.sum() * 0 + (x @ torch.ones(6, 3)).detach()
        if self.wrong == "infinite":
            h = h / 0
        return self.head(h)


def subject(wrong: str = "", **changed: Any) -> Subject:
    torch.manual_seed(0)
    x = torch.randn(16, 6)
    batch = {"index": torch.arange(16), "x": x, "target": x[:, :3].argmax(1)}
    if wrong == "labels":
        batch["target"] = batch["target"] + 2
    if wrong == "inputs":
        batch["x"] = x * 100 + 50
    loss: Callable[[Any, Any], Tensor] = lambda output, of: F.cross_entropy(output, of["target"])  # noqa: E731
    if wrong == "sum":
        loss = lambda output, of: F.cross_entropy(output, of["target"], reduction="sum")  # noqa: E731

    def parts(whole: Any, count: int) -> list[tuple[Any, float]]:
        size = math.ceil(len(whole["index"]) / count)
        cut = [{k: v[i : i + size] for k, v in whole.items()} for i in range(0, len(whole["index"]), size)]
        return [(part, len(part["index"]) / len(whole["index"])) for part in cut]

    def optimizer(net: nn.Module) -> torch.optim.Optimizer:
        given = net.head.parameters() if wrong == "left out" else (p for p in net.parameters() if p.requires_grad)
        return torch.optim.SGD(given, lr=0.1)

    predict = (lambda output: output) if wrong == "probabilities" else (lambda output: output.softmax(1))
    given: dict[str, Any] = {"net": Net(wrong), "batch": batch, "forward": lambda net, of: net(of["x"]), "loss": loss,
             "parts": parts, "optimizer": optimizer, "predict": predict, "kind": "classes"}  # fmt: skip
    return Subject(**{**given, **changed})


def test_a_good_net_passes_and_keeps_every_bit() -> None:
    good = subject()
    before = {name: value.clone() for name, value in good.net.state_dict().items()}
    random = torch.get_rng_state()
    found = preflight(good)
    assert {f.rule for f in found} == {f"R6{n:02}" for n in (1, 2, 3, 5, 6, 7, 8, 9, 10, 11)}
    assert {f.state for f in found} == {"PASS"}
    assert all(torch.equal(before[name], value) for name, value in good.net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random) and good.net.training
    assert all(p.grad is None for p in good.net.parameters())


@pytest.mark.parametrize(
    ("wrong", "rule", "state"),
    [
        ("scale", "R601", "WARN"), ("sum", "R602", "WARN"), ("unused", "R603", "WARN"), ("left out", "R603", "FAIL"),
        ("frozen", "R604", "WARN"), ("mixes", "R605", "WARN"), ("mode", "R606", "WARN"), ("random", "R607", "WARN"),
        ("lost", "R607", "FAIL"), ("detached", "R608", "WARN"), ("labels", "R610", "FAIL"),
        ("infinite", "R610", "FAIL"), ("probabilities", "R610", "FAIL"), ("inputs", "R611", "WARN"),
    ],
)  # fmt: skip
def test_a_fault_is_named(wrong: str, rule: str, state: str) -> None:
    assert {f.rule: f.state for f in preflight(subject(wrong))}.get(rule) == state


def test_randomness_that_no_seed_reaches() -> None:
    clock = iter(range(100))
    found = preflight(subject(forward=lambda net, of: net(of["x"]) * (1 + 0.01 * next(clock))))
    assert {f.rule: f.state for f in found}["R609"] == "WARN"


def test_it_ends_in_time() -> None:
    def slowly(net: nn.Module, of: Any) -> Tensor:
        time.sleep(0.02)
        return net(of["x"])  # type: ignore[no-any-return]

    begun = time.monotonic()
    assert len(preflight(subject(forward=slowly), seconds=0.05)) < 5
    assert time.monotonic() - begun < 30  # no figure: that it ends at all


def test_members_of_an_ensemble_are_not_broadcast() -> None:
    torch.manual_seed(0)
    x = torch.randn(16, 6)
    batch = {"index": torch.arange(16), "x": x, "target": x[:, 0]}
    loss = lambda output, of: ((output - of["target"][:, None]) ** 2).mean()  # noqa: E731
    for predict, state in ((lambda output: output.mean(1), "PASS"), (lambda output: output.flatten(), "FAIL")):
        one = subject(batch=batch, loss=loss, kind="number", predict=predict)
        assert {f.rule: f.state for f in preflight(one)}["R610"] == state
