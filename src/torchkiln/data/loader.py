"""Stores and orders joined to loaders that Lightning can run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from torchkiln.data.order import BatchKey, EvalOrder, TrainOrder
from torchkiln.data.store import Store

Transform = Callable[..., Any]


class Batches(Dataset[Any]):
    """A store whose items are whole batches.

    Args:
        store: The samples of a split.
        transform: (batch, indices, epoch) -> batch, such as augmentation.
    """

    def __init__(self, store: Store, transform: Transform | None = None) -> None:
        self.store, self.transform = store, transform

    def __getitem__(self, key: BatchKey) -> Any:
        batch = self.store.take(key.indices, key.epoch)
        return self.transform(batch, key.indices, key.epoch) if self.transform else batch


def loader(
    store: Store,
    order: TrainOrder | EvalOrder,
    *,
    transform: Transform | None = None,
    workers: int = 0,
    pin: bool = False,
) -> DataLoader[Any]:
    """A loader of whole batches; each worker makes every `workers`-th one.

    `batch_size=None` turns off PyTorch's sample-by-sample collation: the store takes a batch by index.
    """
    return DataLoader(
        Batches(store, transform),
        sampler=order,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context=store.start_method if workers else None,
        pin_memory=pin and torch.cuda.is_available(),
        # Else the loader draws its workers' base seed from the global generator, once an epoch.
        generator=torch.Generator().manual_seed(0),
    )
