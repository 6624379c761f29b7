"""A person's datasets and loaders under our order."""

from collections.abc import Iterator
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset, WeightedRandomSampler

from torchkiln.data import own
from torchkiln.errors import DataError


def dataset(n: int = 20) -> TensorDataset:
    return TensorDataset(torch.arange(n).float()[:, None], torch.arange(n) % 2)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter([(torch.zeros(1), torch.tensor(0))])


class Module(L.LightningDataModule):
    def setup(self, stage: str) -> None:
        self.data = dataset()

    def train_dataloader(self) -> Any:
        return DataLoader(self.data, batch_size=4, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(self.data, batch_size=4)


def test_a_loader_gives_its_dataset_batch_size_and_collate() -> None:
    found = own.read((DataLoader(dataset(), batch_size=7, shuffle=True), dataset()), 0).splits
    assert found["train"].batch_size == 7 and found["train"].store is not None
    batch = found["train"].store.take(np.array([3, 4]), 0)
    assert batch["target"].tolist() == [1, 0] and batch["index"].tolist() == [3, 4]
    assert set(found) == {"train", "val"}


def test_tensors_are_taken_by_whole_batches_and_come_out_as_sample_by_sample() -> None:
    class Plain(TensorDataset):
        """Read sample by sample, as its reading may be anything."""

    tensors = torch.rand(20, 3, 2), torch.arange(20), torch.rand(20, dtype=torch.float64)
    shuffled = [7, 3, 11, 0, 19]
    for whole, single in (
        (TensorDataset(*tensors), Plain(*tensors)),
        (
            Subset(Subset(TensorDataset(*tensors), shuffled), [4, 2, 0]),
            Subset(Subset(Plain(*tensors), shuffled), [4, 2, 0]),
        ),
    ):
        stores = [own.read((data, data), 0).splits["train"].store for data in (whole, single)]
        ours, theirs = (store.take(np.array([2, 0]), 0)["batch"] for store in stores if store is not None)
        assert type(ours) is type(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == b.dtype and torch.equal(a, b)


def test_a_persons_collate_sees_every_sample() -> None:
    loader = DataLoader(dataset(), batch_size=4, collate_fn=lambda samples: [s[0] * 2 for s in samples])
    store = own.read((loader, loader), 0).splits["train"].store
    assert store is not None and [float(x) for x in store.take(np.array([1, 5]), 0)["batch"]] == [2.0, 10.0]


def test_one_dataset_is_carved_without_overlap_and_said() -> None:
    data = own.read(dataset(), 0)
    parts = [data.splits[s].store for s in ("train", "val", "test")]
    assert [len(p) for p in parts if p is not None] == [14, 3, 3]
    seen = [x for p in parts if p is not None for x in p.take(np.arange(len(p)), 0)["batch"][0].flatten().tolist()]
    assert sorted(seen) == list(range(20))
    assert data.findings[0].code == "carved"


def test_a_datamodule_gives_the_loaders_it_has() -> None:
    data = own.read(Module(), 0)
    assert set(data.splits) == {"train", "val"}
    assert data.splits["train"].batch_size == 4


def test_a_persons_sampler_and_an_iterable_are_used_as_they_are_and_said() -> None:
    sampler = WeightedRandomSampler([1.0] * 20, 20)
    for part in (DataLoader(dataset(), batch_size=4, sampler=sampler), Stream()):
        data = own.read((part, dataset()), 0)
        assert data.splits["train"].store is None and data.splits["train"].loader is not None
        assert data.findings[0].level == "warn" and "reads the first batches" in data.findings[0].text


def test_a_loader_used_as_it_is_waits_no_longer_than_said_unless_it_says_so_itself() -> None:
    def waits(**more: Any) -> float:
        kept = own.read((DataLoader(Stream(), batch_size=4, **more), dataset()), 0, timeout=9).splits["train"].loader
        assert kept is not None
        return kept.loader.timeout

    assert [waits(num_workers=2), waits(num_workers=2, timeout=5), waits()] == [9, 5, 0]


@pytest.mark.parametrize("given", [(), (dataset(),) * 4, 5, (dataset(0),), ("x",), DataLoader(dataset())])
def test_what_is_no_data_is_refused_in_a_sentence(given: Any) -> None:
    with pytest.raises(DataError, match="data: "):
        own.read(given, 0)


def test_targets_are_the_last_of_a_tuple_or_named_so() -> None:
    x, y = torch.zeros(2), torch.ones(2)
    assert own.target_of((x, y)) is y
    assert own.target_of({"image": x, "label": y}) is y
    assert own.target_of(x) is None
