"""Loaders of whole batches are the same for any number of workers."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from torchkiln.data.loader import loader
from torchkiln.data.order import EvalOrder, TrainOrder
from torchkiln.data.store import ArrayStore, Batch, Indices, Store, Unreadable
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


def test_reading_in_this_process_gives_what_pytorchs_own_way_gives() -> None:
    batches = loader(ArrayStore({"x": np.arange(20.0)}, None), TrainOrder(20, 6, seed=0), transform=Noise())
    for ours, theirs in zip(batches, DataLoader.__iter__(batches), strict=True):
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_loaders_own_seed_is_not_drawn_from_the_global_generator() -> None:
    before = torch.default_generator.get_state()
    epoch_of(0, 0)
    assert torch.equal(before, torch.default_generator.get_state())


class Holes(ArrayStore):
    """Some samples cannot be read; what was asked for is kept."""

    def __init__(self, holes: set[int]) -> None:
        super().__init__({"x": np.arange(12.0)}, np.arange(12))
        self.holes = holes

    def take(self, indices: Indices, epoch: int) -> Batch:
        bad = [i for i in indices.tolist() if i in self.holes]
        if bad:
            raise Unreadable(f"{bad[0]}.png is damaged", bad)
        return super().take(indices, epoch)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_sample_stops_with_its_sentence_alone(workers: int) -> None:
    with pytest.raises(Unreadable) as caught:
        list(loader(Holes({5}), EvalOrder(12, 4), workers=workers))
    assert str(caught.value) == "5.png is damaged"
    assert bool(workers) == any("Traceback" in note for note in getattr(caught.value, "__notes__", []))


@pytest.mark.parametrize("workers", [0, 2])
def test_or_is_skipped_and_told_of(workers: int) -> None:
    batches = list(loader(Holes({5, 7, 8}), EvalOrder(12, 4), workers=workers, transform=Noise(), unreadable="skip"))
    assert [b["index"].tolist() for b in batches] == [[0, 1, 2, 3], [4, 6], [9, 10, 11]]
    assert [len(b["noise"]) for b in batches] == [4, 2, 3]
    assert "skipped" not in batches[0]
    assert batches[1]["skipped"].tolist() == [5, 7] and batches[1]["skipped"].dtype == torch.int64


def test_a_batch_without_any_readable_sample_is_an_error_even_so() -> None:
    with pytest.raises(Unreadable, match=r"^none of the 4 samples of a batch can be read: 4\.png is damaged"):
        list(loader(Holes({4, 5, 6, 7}), EvalOrder(12, 4), unreadable="skip"))


@pytest.mark.parametrize("workers", [0, 2])
def test_what_was_skipped_before_is_left_out_again_without_being_read(workers: int) -> None:
    store = Holes(set())  # it can be read by now, which must not change the run
    store.leave_out([(2, 5), (2, 8), (1, 0)])
    order = TrainOrder(12, 4, seed=0)
    order.set_epoch(2)
    batches = list(loader(store, order, workers=workers))
    assert not any("skipped" in b for b in batches)
    wanted = [[i for i in whole.tolist() if i not in (5, 8)] for whole in order.batches(2)]
    assert [b["index"].tolist() for b in batches] == wanted


@pytest.mark.parametrize("batch", [[torch.zeros(2)], {"x": torch.zeros(2)}])
def test_a_persons_own_batch_is_not_cut(batch: Any) -> None:
    class Bare(Store):
        def __len__(self) -> int:
            return 4

        def take(self, indices: Indices, epoch: int) -> Any:
            if 2 in indices:
                raise Unreadable("2.png is damaged", [2])
            return batch

    with pytest.raises(Unreadable, match=r"^2\.png is damaged; it cannot be skipped"):
        list(loader(Bare(), EvalOrder(4, 4), unreadable="skip"))


def test_a_timeout_belongs_to_workers_alone() -> None:
    store, order = ArrayStore({"x": np.arange(20.0)}, None), TrainOrder(20, 6, seed=0)
    assert loader(store, order, workers=1, timeout=7).timeout == 7
    assert loader(store, order, timeout=7).timeout == 0
