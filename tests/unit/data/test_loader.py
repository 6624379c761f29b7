"""Loaders of whole batches are the same for any number of workers."""

from typing import Any

import numpy as np
import pytest
import torch

from torchkiln.data.loader import loader
from torchkiln.data.order import TrainOrder
from torchkiln.data.store import ArrayStore, Batch
from torchkiln.randomness import uniforms


class Noise:
    def __call__(self, batch: Batch, indices: Any, epoch: int) -> Batch:
        return {**batch, "noise": torch.from_numpy(uniforms(0, "augment", epoch, indices, 2))}


def epoch_of(workers: int, epoch: int) -> list[dict[str, torch.Tensor]]:
    store = ArrayStore({"x": np.arange(20.0)}, np.arange(20))
    order = TrainOrder(20, 6, seed=0)
    batches = loader(store, order, transform=Noise(), workers=workers)
    order.set_epoch(epoch)
    return list(batches)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(workers: int) -> None:
    for alone, shared in zip(epoch_of(0, 2), epoch_of(workers, 2), strict=True):
        for name in alone:
            assert torch.equal(alone[name], shared[name]), name


def test_the_loaders_own_seed_is_not_drawn_from_the_global_generator() -> None:
    before = torch.default_generator.get_state()
    epoch_of(0, 0)
    assert torch.equal(before, torch.default_generator.get_state())
