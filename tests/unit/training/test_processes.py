"""What one process can show of several; tests/e2e and tests/resume start real ones."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from torchkiln.training.processes import ElasticStrategy, gathered, warm_up


@pytest.fixture
def group() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_the_warm_up_leaves_no_trace(group: None) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    wrapped = DistributedDataParallel(net)
    seen: list[torch.Tensor] = []
    net[0].weight.register_hook(seen.append)
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(model=wrapped))
    warm_up(trainer)
    assert len(seen) == 1 and not seen[0].any(), "there was one backward, of zeros"
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert wrapped(torch.randn(4, 2)).shape == (4, 2), "the net's own forward is back"


def test_a_net_that_is_not_wrapped_is_left_alone() -> None:
    net = nn.Linear(2, 2)
    warm_up(SimpleNamespace(strategy=SimpleNamespace(model=net)))  # type: ignore[arg-type]
    assert net.weight.grad is None


def test_elastic_processes_leave_the_net_unwrapped() -> None:
    net = nn.Linear(2, 2)
    assert ElasticStrategy()._setup_model(net) is net


def test_alone_there_is_nothing_to_gather() -> None:
    assert gathered({"a": 1}, world=1) == [{"a": 1}]
