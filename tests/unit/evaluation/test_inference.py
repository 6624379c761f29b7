"""Every sample once, in order, in FP32, and the net left as it was."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torchkiln.codec.base import Ragged
from torchkiln.data.store import ArrayStore, Indices, Store
from torchkiln.errors import ModelError
from torchkiln.evaluation import inference

TASK: Any = SimpleNamespace(forward=lambda net, batch: net(batch), predict=lambda output: output)


class Sums(nn.Module):
    """The sum of each sequence; says which rows it saw, and how."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.BatchNorm1d(1)
        self.seen: list[int] = []
        self.widths: list[int] = []
        self.modes: list[tuple[bool, bool, bool]] = []

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        self.seen += batch["index"].tolist()
        self.widths.append(batch["ids"].shape[1])
        autocast = torch.is_autocast_enabled("cpu")
        self.modes.append((self.training, torch.is_inference_mode_enabled(), autocast))
        return batch["ids"].sum(dim=1).float()


def _ragged(n: int) -> tuple[ArrayStore, np.ndarray]:
    lengths = np.random.default_rng(0).integers(1, 40, n)
    values = np.arange(lengths.sum(), dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    expected = np.array([values[a:b].sum() for a, b in pairwise(offsets)])
    return ArrayStore({"ids": Ragged(values, offsets)}, None), expected


@pytest.mark.parametrize("batch_size", [1, 7, 50, 53, 54, 1000])
def test_every_sample_is_predicted_once_and_in_order(batch_size: int) -> None:
    store, expected = _ragged(53)
    net = Sums()
    found = inference.run(TASK, net, store, batch_size, "cpu")
    assert sorted(net.seen) == list(range(53))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_sequences_of_like_length_share_a_batch() -> None:
    store, _ = _ragged(53)
    net = Sums()
    inference.run(TASK, net, store, 8, "cpu")
    assert net.widths == sorted(net.widths)
    lengths = store.lengths
    assert lengths is not None
    assert net.widths[0] < lengths[:8].max()


def test_the_net_computes_in_eval_mode_in_fp32_and_is_left_as_it_was() -> None:
    store, _ = _ragged(5)
    net = Sums().train()
    net.frozen.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inference.run(TASK, net, store, 8, "cpu")
    assert net.modes == [(False, True, False)]
    assert net.training
    assert not net.frozen.training


def test_the_mode_comes_back_after_an_error_too() -> None:
    store, _ = _ragged(5)
    broken: Any = SimpleNamespace(forward=lambda net, batch: 1 / 0, predict=None)
    net = Sums().train()
    with pytest.raises(ZeroDivisionError):
        inference.run(broken, net, store, 8, "cpu")
    assert net.training


def test_a_net_that_joins_samples_is_named() -> None:
    store, _ = _ragged(10)
    joins: Any = SimpleNamespace(forward=lambda net, batch: net(batch).sum().reshape(1), predict=lambda o: o)
    with pytest.raises(ModelError, match="1 predictions for a batch of 4 samples"):
        inference.run(joins, Sums(), store, 4, "cpu")


def test_structures_are_moved_whole() -> None:
    batch = {"a": torch.ones(2), "b": [torch.ones(1), ("word", torch.ones(3))], "c": 5}
    moved = inference.to_device(batch, torch.device("meta"))
    assert moved["a"].device.type == moved["b"][0].device.type == moved["b"][1][1].device.type == "meta"
    assert (moved["b"][1][0], moved["c"]) == ("word", 5)
    assert isinstance(moved["b"][1], tuple)


def test_a_store_without_samples_gives_no_predictions() -> None:
    class Empty(Store):
        def __len__(self) -> int:
            return 0

        def take(self, indices: Indices, epoch: int) -> Any:
            raise AssertionError("nothing is to be taken")

    assert inference.run(TASK, Sums(), Empty(), 4, "cpu").shape == (0,)
