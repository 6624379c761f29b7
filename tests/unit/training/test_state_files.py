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
    state_files.Snapshot(tree, "state").write(tmp_path)
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
    state_files.Snapshot({"t": tensors}, "state").write(tmp_path)
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
    state_files.Snapshot(optimizer.state_dict(), "state").write(tmp_path)
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
        state_files.Snapshot({"callbacks": {"mine": {1, 2}}}, "state")


def test_arrays_of_a_persons_own_come_back(tmp_path: Path) -> None:
    state_files.Snapshot({"seen": np.arange(6, dtype=np.int32).reshape(2, 3)}, "state").write(tmp_path)
    seen = state_files.load(tmp_path, "state")["seen"]
    assert seen.dtype == np.int32 and seen.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_tied_tensors_are_stored_once_and_come_back_tied(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    state = net.state_dict()
    state_files.Copies(state).write(tmp_path / "weights.safetensors")
    found = state_files.load_tensors(tmp_path / "weights.safetensors")
    assert found.keys() == state.keys()
    assert found["0.weight"] is found["1.weight"] and torch.equal(found["1.weight"], net[0].weight)
    both = 2 * state["0.weight"].numel() * 4
    assert (tmp_path / "weights.safetensors").stat().st_size < both + 400 + 2 * 16


def test_views_of_one_memory_are_not_taken_for_the_same(tmp_path: Path) -> None:
    memory = torch.arange(4.0)
    state_files.Copies({"a": memory[:2], "b": memory[2:], "t": memory.view(2, 2), "u": memory.view(2, 2).t()}).write(
        tmp_path / "weights.safetensors"
    )
    found = state_files.load_tensors(tmp_path / "weights.safetensors")
    assert [found[k].tolist() for k in "abtu"] == [[0, 1], [2, 3], [[0, 1], [2, 3]], [[0, 2], [1, 3]]]


def test_a_copy_is_not_reached_by_what_comes_after(tmp_path: Path) -> None:
    weight, rows = torch.zeros(3), [1]
    snapshot = state_files.Snapshot({"w": weight, "rows": rows}, "state")
    weight += 1
    rows.append(2)
    snapshot.write(tmp_path)
    found = state_files.load(tmp_path, "state")
    assert found["w"].tolist() == [0, 0, 0] and found["rows"] == [1]


def test_a_sparse_tensor_is_refused_by_its_place() -> None:
    with pytest.raises(RunFailed, match=r"sparse or quantized tensor at state\.w"):
        state_files.Snapshot({"w": torch.eye(2).to_sparse()}, "state")


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(RunError, match="cannot be read"):
        state_files.load_tensors(tmp_path / "weights.safetensors")
