"""A person's own datasets and loaders, brought under our order and seeds where that can be done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    default_collate,
)

from torchkiln.data.replayed import Replayed, seed_globals
from torchkiln.data.source import SPLITS, Finding
from torchkiln.data.store import Batch, DatasetStore, Indices
from torchkiln.errors import DataError
from torchkiln.randomness import key, permutation

CARVED = 0.15
MOST_TARGETS = 20_000
"""Samples whose targets are looked at to tell classes and range."""
TARGET_NAMES = ("target", "targets", "label", "labels", "y")


class OwnStore(DatasetStore):
    """A person's dataset, whose batches are kept whole beside our own keys.

    `take` gives `batch` (what the person's collate made), `index`, and `target` where one is found: the
    last of a tuple of two or more, or the entry of a dict called target, label or y.

    A `TensorDataset`, or a `Subset` of one, is indexed by whole batches: reading it draws nothing at random, and
    sample by sample it would take longer than the step of a small net.
    """

    def take(self, indices: Indices, epoch: int) -> Batch:
        whole = _tensors(self.dataset) if self.collate in (default_collate, _default_collate) else None
        collated = super().take(indices, epoch) if whole is None else whole(indices)
        batch: Batch = {"batch": collated, "index": torch.from_numpy(indices)}
        target = target_of(collated)
        return batch if target is None else {**batch, "target": target}


@dataclass
class OwnSplit:
    """One split of a person's data.

    Args:
        store: Its samples by index; None where they can only be had through `loader`.
        loader: The person's own loader, used as it is but for its seeds; None where the store serves.
        batch_size: As the person's loader had it.
    """

    store: OwnStore | None = None
    loader: Replayed | None = None
    batch_size: int | None = None


@dataclass
class OwnData:
    """A person's splits, and what is to be said of them."""

    splits: dict[str, OwnSplit]
    findings: list[Finding] = field(default_factory=list)

    @property
    def lengths(self) -> dict[str, int | None]:
        """Samples by split; None where they cannot be counted."""
        return {name: None if split.store is None else len(split.store) for name, split in self.splits.items()}


@dataclass(frozen=True)
class SampleSeed:
    """Sets the global generators for one sample: called with (epoch, index)."""

    seed: int
    purpose: str

    def __call__(self, epoch: int, index: int) -> None:
        seed_globals(key(self.seed, self.purpose, epoch, index))


def read(data: Any, seed: int, timeout: int = 0) -> OwnData:
    """What a person gave as `data`.

    Args:
        data: A LightningDataModule; or one to three datasets or DataLoaders: train, val, test. From a single
            one validation and test are carved; from two, the second is validation.
        seed: The run's seed.
        timeout: Seconds to wait for a batch of a worker, where a loader that is used as it is says nothing itself.

    Raises:
        DataError: It is none of these.
    """
    parts, findings = _parts(data, seed)
    made: dict[str, OwnSplit] = {}
    for name, part in zip(SPLITS, parts, strict=False):
        if part is not None:
            made[name], words = _split(part, name, seed)
            findings += words
            if (kept := made[name].loader) is not None and kept.loader.num_workers and not kept.loader.timeout:
                kept.loader.timeout = timeout
    if "train" not in made:
        raise DataError("data: there is no training dataset")
    return OwnData(made, findings)


def target_of(collated: Any) -> torch.Tensor | None:
    """The target inside a person's batch, if it can be told."""
    found: Any = None
    if isinstance(collated, dict):
        found = next((collated[n] for n in TARGET_NAMES if n in collated), None)
    elif isinstance(collated, list | tuple) and len(collated) >= 2:
        found = collated[-1]
    return found if isinstance(found, torch.Tensor) else None


def _parts(data: Any, seed: int) -> tuple[list[Any], list[Finding]]:
    if isinstance(data, L.LightningDataModule):
        return _of_module(data), []
    if isinstance(data, list | tuple):
        if not 1 <= len(data) <= 3:
            raise DataError(f"data: {len(data)} datasets were given; give train, or train and val, or all three")
        if len(data) > 1:
            return [*data], []
        data = data[0]
    if isinstance(data, DataLoader) or not hasattr(data, "__len__"):
        raise DataError("data: give (train, val, test) datasets or loaders, or a LightningDataModule; of a single "
                        f"{type(data).__name__} no validation can be carved")  # fmt: skip
    return _carve(data, seed)


def _of_module(module: L.LightningDataModule) -> list[Any]:
    """The loaders of a LightningDataModule; None where it has no such one."""
    module.prepare_data()
    module.setup("fit")
    module.setup("test")
    parts: list[Any] = []
    for split in SPLITS:
        hook = getattr(module, f"{split}_dataloader")
        own = type(module).__dict__.get(hook.__name__) or hook.__func__ is not getattr(
            L.LightningDataModule, hook.__name__)  # fmt: skip
        parts.append(hook() if own else None)
    return parts


def _carve(dataset: Any, seed: int) -> tuple[list[Any], list[Finding]]:
    n = len(dataset)
    count = round(CARVED * n)
    if count < 1:
        raise DataError(f"data: {n} samples are too few to carve validation and test from")
    order = permutation(seed, "split", 0, n)
    cuts = order[2 * count :], order[count : 2 * count], order[:count]
    word = Finding("carved", "note", f"one dataset of {n} samples was given: {count} of them, drawn at random, are "
                   f"the validation and {count} the test")  # fmt: skip
    return [Subset(dataset, sorted(c.tolist())) for c in cuts], [word]


def _split(part: Any, name: str, seed: int) -> tuple[OwnSplit, list[Finding]]:
    if isinstance(part, DataLoader):
        return _from_loader(part, name, seed)
    if isinstance(part, IterableDataset):
        return _as_it_is(
            DataLoader(part, batch_size=None), name, seed, "an iterable dataset has no order to go back to"
        )
    if not hasattr(part, "__getitem__") or not hasattr(part, "__len__"):
        raise DataError(f"data: the {name} part is a {type(part).__name__}; give a dataset with __len__ and "
                        "__getitem__, or a DataLoader")  # fmt: skip
    if not len(part):
        raise DataError(f"data: the {name} dataset is empty")
    return OwnSplit(OwnStore(part, _default_collate, SampleSeed(seed, name))), []


def _from_loader(loader: DataLoader[Any], name: str, seed: int) -> tuple[OwnSplit, list[Finding]]:
    if isinstance(loader.dataset, IterableDataset):
        return _as_it_is(loader, name, seed, "an iterable dataset has no order to go back to")
    usual = isinstance(loader.sampler, RandomSampler | SequentialSampler) and loader.batch_size is not None
    if not usual and name == "train":
        sampler = type(loader.batch_sampler if loader.batch_size is None else loader.sampler).__name__
        return _as_it_is(loader, name, seed, f"its sampler ({sampler}) is the person's own and is kept")
    collate: Any = loader.collate_fn if loader.batch_size is not None else _default_collate
    store = OwnStore(loader.dataset, collate, SampleSeed(seed, name))
    return OwnSplit(store, batch_size=loader.batch_size), []


def _as_it_is(loader: DataLoader[Any], name: str, seed: int, why: str) -> tuple[OwnSplit, list[Finding]]:
    text = (f"the {name} loader is used as it is, since {why}: a resumed run reads the first batches of its epoch "
            "again, and is bitwise the same as long as the data gives the same samples in the same order for the "
            "same random numbers")  # fmt: skip
    split = OwnSplit(loader=Replayed(loader, seed, name), batch_size=loader.batch_size)
    return split, [Finding("own_order", "warn", text)]


def _default_collate(samples: Sequence[Any]) -> Any:
    return default_collate(list(samples))


def _tensors(dataset: Any) -> Callable[[Indices], list[torch.Tensor]] | None:
    """Gives a batch of tensors as the default collate would, where the samples are rows of tensors."""
    if type(dataset) is Subset:
        inner = _tensors(dataset.dataset)
        return None if inner is None else lambda indices: inner(np.asarray(dataset.indices, np.int64)[indices])
    if type(dataset) is not TensorDataset:
        return None
    return lambda indices: [t.index_select(0, torch.from_numpy(indices)) for t in dataset.tensors]


def sample_targets(store: OwnStore, most: int = MOST_TARGETS) -> Sequence[torch.Tensor]:
    """Targets of up to `most` samples, evenly spaced; empty where batches have none."""
    indices = np.unique(np.linspace(0, len(store) - 1, min(most, len(store))).astype(np.int64))
    found = [store.take(part, 0).get("target") for part in np.array_split(indices, max(1, len(indices) // 256))]
    return [t for t in found if t is not None]
