from __future__ import annotations

from torchkiln.checks.lint.events import Event
from torchkiln.checks.lint.source import Source
from torchkiln.checks.lint.view import View


def trace(text: str) -> list[Event]:
    (found,) = View([Source("a.py", text, "a")]).traces
    return found.events


def kinds(text: str) -> str:
    return " ".join(e.kind for e in trace(text))


def test_a_loop_in_its_order() -> None:
    text = """
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
    scaler.step(optimizer)
    scaler.update()
    scheduler.step()
"""
    assert kinds(text) == "zero forward loss backward unscale clip step update schedule"
    assert {len(e.loops) for e in trace(text)} == {1}


def test_one_thing_has_one_key_wherever_it_is_passed_to() -> None:
    text = """
class Trainer:
    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.opt = opt
    def fit(self):
        for x, y in loader:
            update(self.opt, loss_of(x))
def update(o, loss):
    o.zero_grad()
    loss.backward()
    o.step()
opt = torch.optim.SGD(model.parameters())
trainer = Trainer(model, opt)
trainer.fit()
"""
    found = trace(text)
    assert {e.key for e in found if e.kind in ("make", "zero", "step")} == {"opt@<module>:0"}


def test_branches_and_what_follows_a_return() -> None:
    text = """
for x in loader:
    if bad:
        optimizer.zero_grad()
        continue
    loss.backward()
    optimizer.step()
"""
    zero, back, step = trace(text)
    assert zero.path == (("bad", 1),) and back.path == step.path == (("bad", 0),)


def test_contexts_are_carried_into_callees() -> None:
    text = """
import torch
def run(x):
    return model(x)
with torch.no_grad(), torch.autocast("cuda"):
    for x in val_loader:
        run(x)
"""
    (forward,) = [e for e in trace(text) if e.kind == "forward"]
    assert forward.no_grad is True and forward.autocast is not None


def test_recursion_ends() -> None:
    assert kinds("def f(o):\n    o.backward()\n    f(o)\nf(loss)\n") == "backward"


def test_what_another_library_owns_is_foreign() -> None:
    assert kinds("for x in loader:\n    accelerator.backward(loss)\n    optimizer.step()\n") == "foreign step"
