"""Loaders used as they are give the same batches again, from the start and from any batch."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Sampler, get_worker_info

from torchkiln.data.replayed import Replayed

COUNT = 40


def noisy(index: int) -> torch.Tensor:
    """A sample with draws from all three generators that a person's code may use."""
    return torch.tensor([index, torch.rand(()).item(), np.random.rand(), random.random()], dtype=torch.float64)  # noqa: NPY002


class Stream(IterableDataset[torch.Tensor]):
    """Without length; its order is drawn, each worker has its share."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        info = get_worker_info()
        order = torch.randperm(COUNT).tolist()
        return map(noisy, itertools.islice(order, info.id if info else 0, None, info.num_workers if info else 1))


class Indexed(Dataset[torch.Tensor]):
    def __init__(self) -> None:
        self.rng = np.random.default_rng()
        self.old = np.random.RandomState()
        self.python = random.Random()

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> torch.Tensor:
        own = [self.rng.random(), self.old.random(), self.python.random()]
        return torch.cat([noisy(index), torch.tensor(own, dtype=torch.float64)])


class Drawing(Sampler[int]):
    """Draws from a generator of its own, and as it goes from the global one."""

    def __init__(self) -> None:
        self.rng = torch.Generator()
        self.epochs: list[int] = []

    def __len__(self) -> int:
        return COUNT

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def __iter__(self) -> Iterator[int]:
        for index in torch.randperm(COUNT, generator=self.rng).tolist():
            yield (index + int(torch.randint(COUNT, ()))) % COUNT


def made(kind: str, workers: int) -> Replayed:
    more: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
    if kind == "stream":
        return Replayed(DataLoader(Stream(), batch_size=4, **more), 5, "train")
    both = ConcatDataset([Indexed(), Indexed()])
    return Replayed(DataLoader(both, batch_size=4, sampler=Drawing(), generator=torch.Generator(), **more), 5, "train")


def epoch_of(loader: Replayed, epoch: int) -> list[torch.Tensor]:
    """An epoch, with draws between the batches as training makes them."""
    loader.set_epoch(epoch)
    batches = []
    for batch in loader:
        batches.append(batch)
        torch.rand(len(batches)), np.random.rand(len(batches)), random.random()  # noqa: NPY002
    return batches


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return len(first) == len(second) and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(("kind", "workers"), [("stream", 0), ("indexed", 0), ("stream", 2), ("indexed", 2)])
def test_an_epoch_comes_back_from_the_start_and_from_any_batch(kind: str, workers: int) -> None:
    loader = made(kind, workers)
    first, second = epoch_of(loader, 0), epoch_of(loader, 1)
    assert len(first) == len(second) == COUNT // 4 and not same(first, second)
    torch.rand(7)  # whatever was drawn before a life makes no difference
    again = made(kind, workers)
    assert same(epoch_of(again, 1), second)
    again.start_at(1, 7)
    # Lightning iterates twice before the first batch of a resume, and tells the epoch in between
    next(iter(again))
    assert same(epoch_of(again, 1), second[7:])
    assert same(epoch_of(again, 0), first)


def test_only_the_batches_before_are_dropped_and_the_length_is_the_whole() -> None:
    loader = made("indexed", 0)
    whole = epoch_of(loader, 2)
    loader.start_at(2, 9)
    assert len(loader) == len(whole) == 10
    assert same(epoch_of(loader, 2), whole[9:])
    loader.start_at(2, 10)
    assert epoch_of(loader, 2) == []
    with pytest.raises(TypeError):
        len(made("stream", 0))


def test_the_epoch_reaches_the_loader_as_lightning_tells_it_and_whoever_asks() -> None:
    loader = made("indexed", 0)
    loader.sampler.set_epoch(3)
    list(loader)
    sampler = loader.loader.sampler
    assert loader.epoch == 3 and isinstance(sampler, Drawing) and sampler.epochs == [3]


def test_splits_and_seeds_draw_differently() -> None:
    inner = made("stream", 0).loader
    drawn = [next(iter(Replayed(inner, seed, split))) for seed, split in ((0, "train"), (0, "val"), (1, "train"))]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(drawn, 2))


def test_nothing_is_read_before_it_is_asked_for() -> None:
    class Counting(Stream):
        begun = 0

        def __iter__(self) -> Iterator[torch.Tensor]:
            Counting.begun += 1
            return super().__iter__()

    loader = Replayed(DataLoader(Counting(), batch_size=4), 0, "train")
    iter(loader)
    assert Counting.begun == 0
    next(iter(loader))
    assert Counting.begun == 1
