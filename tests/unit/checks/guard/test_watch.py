from __future__ import annotations

import threading

import torch
from torch import nn, optim

from torchkiln.checks.finding import Finding
from torchkiln.checks.guard.patches import Patches
from torchkiln.checks.guard.watch import Watch


class Failing:
    """A rule with a fault of its own."""

    def __init__(self, watch: Watch) -> None:
        self.calls = 0

    def on_step(self, stepping: object) -> None:
        self.calls += 1
        raise RuntimeError("mine")


def trained(watch: Watch, steps: int = 3) -> None:
    net = nn.Linear(4, 2)
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    with Patches(watch):
        for _ in range(steps):
            optimizer.zero_grad()
            net(torch.randn(8, 4)).pow(2).mean().backward()
            optimizer.step()


def test_steps_and_forwards_are_counted() -> None:
    watch = Watch(lambda finding: None)
    trained(watch)
    (stepping,), (model,) = watch.living() or [None], list(watch.models.values())
    assert watch.step == 3 and model.trained == 3 and model.forwards == 3 and stepping is None
    assert watch.broken == []


def test_a_rule_that_fails_is_left_out_and_the_program_goes_on() -> None:
    watch = Watch(lambda finding: None, [Failing])
    trained(watch)
    assert watch.step == 3 and [name for name, _ in watch.broken] == ["on_step"] and watch.checks[0].calls == 1


def test_a_finding_is_told_once() -> None:
    told: list[Finding] = []
    watch = Watch(told.append, [])
    for state in ("WARN", "WARN", "FAIL", "WARN", "FAIL"):
        watch.found("R504", state, "seen")
    assert [f.state for f in told] == ["WARN", "FAIL"]
    assert told[1].why and told[1].fix and told[1].file == __file__ and told[1].line and told[1].step == 0
    assert told[0].confidence is not None and told[1].confidence is not None and told[0].confidence < told[1].confidence


def test_other_threads_are_not_watched() -> None:
    watch = Watch(lambda finding: None, [])
    net = nn.Linear(4, 2)
    with Patches(watch):
        thread = threading.Thread(target=net, args=(torch.randn(1, 4),))
        thread.start()
        thread.join()
    assert watch.models == {}
