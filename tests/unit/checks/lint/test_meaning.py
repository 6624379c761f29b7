from __future__ import annotations

import pytest

from torchkiln.checks.lint.meaning import leaves_gradients, only_looks
from torchkiln.checks.lint.source import Source
from torchkiln.checks.lint.view import View


@pytest.mark.parametrize(
    ("call", "kind", "how"),
    [
        ("optimizer.step()", "step", ""),
        ("scaler.step(optimizer)", "step", "scaled"),
        ("scheduler.step()", "schedule", ""),
        ("env.step(action)", "", ""),
        ("scaler.scale(loss).backward()", "backward", "scaled"),
        ("loss.backward(retain_graph=True)", "backward", "retained"),
        ("engine.backward(loss)", "foreign", ""),
        ("model.train(False)", "eval", "eval"),
        ("model.train(mode)", "train", "mode"),
        ("df.eval('a + b')", "", ""),
        ("model.to(device)", "move", ""),
        ("model.to(torch.float16)", "", ""),
        ("unknown(optimizer)", "opaque", "unknown"),
        ("print(optimizer)", "", ""),
        ("p.grad.zero_()", "zero", ""),
    ],
)
def test_what_a_call_does(call: str, kind: str, how: str) -> None:
    (trace,) = View([Source("a.py", f"{call}\nlast_loss.backward()\n", "a")]).traces
    found = [(e.kind, e.how) for e in trace.events[:-1]]
    assert found == ([(kind, how)] if kind else [])


def test_names_that_only_look() -> None:
    assert only_looks("log_metrics") and only_looks("adjust_learning_rate") and not only_looks("tidy")
    assert leaves_gradients("tqdm.tqdm") and not leaves_gradients("mystery")
