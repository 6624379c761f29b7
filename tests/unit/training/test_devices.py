from __future__ import annotations

import pytest
import torch

from torchkiln.runs import environment
from torchkiln.training import devices


def test_a_device_that_is_not_here_gives_way_to_the_best_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.available("cpu") == devices.available("cuda") == devices.best_device() == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert devices.available("cuda") == devices.best_device() == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices.available("cuda") == devices.best_device() == "cuda" and devices.available("cpu") == "cpu"


def test_a_device_has_the_name_that_it_gives_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    assert devices.device_name("cuda") == "a GPU" and devices.device_name("cpu") == environment.cpu_model()
