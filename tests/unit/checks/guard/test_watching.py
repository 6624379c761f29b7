from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn, optim

import torchkiln


def loop() -> int:
    net = nn.Linear(4, 2)
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        net(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()
    return 7


def test_a_loop_within_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with torchkiln.guard(json=tmp_path / "found.json") as guard:
        loop()
    assert [f.rule for f in guard.findings] == ["R504"]
    assert guard.findings[0].file == __file__
    assert json.loads((tmp_path / "found.json").read_text())[0]["rule"] == "R504"
    said = capsys.readouterr()
    assert said.out == "" and "FAIL R504" in said.err


def test_as_a_decorator_and_quietly(capsys: pytest.CaptureFixture[str]) -> None:
    guard = torchkiln.guard(quiet=True)
    assert guard(loop)() == 7
    assert [f.rule for f in guard.findings] == ["R504"] and capsys.readouterr().err == ""
