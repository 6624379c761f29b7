from __future__ import annotations

import pytest

from torchkiln.checks.lint.source import Source
from torchkiln.checks.lint.view import View


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("criterion(model(x), y)", "flows"),
        ("criterion(model(x).detach(), y)", "cut"),
        ("criterion(model(x).argmax(1), y)", "cut"),
        ("model(x).mean().item()", "cut"),
        ("torch.tensor(model(x).tolist(), requires_grad=True)", "cut"),
        ("torch.zeros(3, requires_grad=True)", "flows"),
        ("model(x) + model(x).detach()", "flows"),
        ("unknown(x).detach()", "off"),
        ("unknown(x)", "unknown"),
        ("3 * 4", "none"),
    ],
)
def test_states(code: str, state: str) -> None:
    source = Source("a.py", f"import torch\nuse({code})\n", "a")
    view = View([source])
    call = next(c for c, _ in source.calls if source.called(c) == "use")
    assert view.gradients.of(call.args[0], view.values.frame(source.top)).state == state


def test_a_forward_without_gradients_is_a_cut() -> None:
    source = Source("a.py", "import torch\nwith torch.no_grad():\n    out = model(x)\nuse(out)\n", "a")
    view = View([source])
    call = source.calls[-1][0] if source.called(source.calls[-1][0]) == "use" else source.calls[0][0]
    assert view.gradients.of(call.args[0], view.values.frame(source.top)).state == "cut"
