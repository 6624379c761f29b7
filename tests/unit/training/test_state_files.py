"""Trees of tensors and plain data come back bit by bit, without pickle."""

import copy
import math
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from torchkiln.errors import RunError, RunFailed
from torchkiln.training import state_files


def test_all_plain_types_come_back(tmp_path: Path) -> None:
    tree = {
        "a": (1, [2.5, None, True]),
        3: float("inf"),
        "n": np.float64(0.1),
        "d": torch.bfloat16,
        "o": OrderedDict(x=1),
        "dev": torch.device("cpu"),
        "nan": float("nan"),
        "dd": defaultdict(dict, {1: {}}),
    }
    state_files.save(tree, tmp_path, "state")
    found = state_files.load(tmp_path, "state")
    assert math.isnan(found.pop("nan")) and math.isnan(tree.pop("nan"))  # type: ignore[arg-type]
    assert found == tree


def test_tensors_come_back_bit_by_bit(tmp_path: Path) -> None:
    tensors = [
        torch.tensor([float("nan"), -0.0, 1e-45]),
        torch.randn(3, 4).bfloat16().t(),
        torch.tensor(7),
        torch.zeros(0, 2),
        torch.tensor([True]),
    ]
    state_files.save({"t": tensors}, tmp_path, "state")
    for a, b in zip(tensors, state_files.load(tmp_path, "state")["t"], strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert a.contiguous().view(torch.uint8).tolist() == b.view(torch.uint8).tolist() if a.ndim else a == b


OPTIMIZERS: dict[str, Any] = {
    "AdamW": {"fused": True},
    "SGD": {"momentum": 0.9},
    "Adagrad": {},
    "RMSprop": {"momentum": 0.5},
    "NAdam": {},
    "RAdam": {},
    "Adadelta": {},
    "Adamax": {},
    "ASGD": {},
    "Rprop": {},
    "Adafactor": {},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_of_every_usual_optimizer_comes_back(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    twin = copy.deepcopy(net)
    optimizer, other = (getattr(torch.optim, name)(n.parameters(), lr=0.01, **OPTIMIZERS[name]) for n in (net, twin))
    step(net, optimizer)
    state_files.save(optimizer.state_dict(), tmp_path, "state")
    twin.load_state_dict(net.state_dict())
    other.load_state_dict(state_files.load(tmp_path, "state"))
    step(net, optimizer)
    step(twin, other)
    assert torch.equal(net.weight, twin.weight)


def step(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    net(torch.ones(5, 3)).square().sum().backward()
    optimizer.step()


def test_what_would_need_pickle_is_refused_by_its_place(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"holds a set at state\.callbacks\.mine"):
        state_files.save({"callbacks": {"mine": {1, 2}}}, tmp_path, "state")


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(RunError, match="cannot be read"):
        state_files.load_tensors(tmp_path / "weights.safetensors")
