from __future__ import annotations

import pytest

from torchkiln.checks.lint.source import Source
from torchkiln.checks.lint.view import View

HEAD = """
import torch
from torch import nn
import torch.nn.functional as F
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)
        self.soft = nn.Softmax(dim=1)
    def forward(self, x):
        return self.soft(self.fc(x))
net = Net()
seq = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid())
"""


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("F.softmax(x, 1)", "softmax"),
        ("x.log_softmax(1)", "log_softmax"),
        ("torch.log(torch.softmax(x, 1) + 1e-9)", "log_softmax"),
        ("net(x)", "softmax"),
        ("seq(x).squeeze(1)", "sigmoid"),
        ("nn.LogSoftmax(dim=1)(x)", "log_softmax"),
        ("net.fc(x)", ""),
        ("1 - torch.sigmoid(x)", ""),
        ("x", ""),
        ("torch.sigmoid(x) if a else torch.softmax(x, 1)", ""),
    ],
)
def test_activations(code: str, found: str) -> None:
    source = Source("a.py", f"{HEAD}use({code})\n", "a")
    view = View([source])
    call = next(c for c, _ in source.calls if source.called(c) == "use")
    assert view.activations.of(call.args[0], view.values.frame(source.top)) == found
