"""Stores and orders joined to loaders that Lightning can run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from torchkiln.data.order import BatchKey, EvalOrder, TrainOrder
from torchkiln.data.store import Indices, Store, Unreadable
from torchkiln.data.workers import Work

Transform = Callable[..., Any]
SKIPPED = "skipped"
"""Entry of a batch that lacks samples which could not be read: int64, their indices."""


class Batches(Dataset[Any]):
    """A store whose items are whole batches.

    Args:
        store: The samples of a split.
        transform: (batch, indices, epoch) -> batch, such as augmentation.
        skip: Go on without samples that cannot be read.
        work: Where workers note what they are at.
    """

    def __init__(
        self, store: Store, transform: Transform | None = None, *, skip: bool = False, work: Work | None = None
    ) -> None:
        self.store, self.transform, self.skip, self.work = store, transform, skip, work

    def __getitem__(self, key: BatchKey) -> Any:
        """A batch; one of a training that skips has the entry `skipped` where samples were found unreadable.

        Raises:
            Unreadable: A sample cannot be read, and it is not skipped; or the batch has none that can.
        """
        if self.work is None:
            return self._batch(key)
        self.work.begin(key.epoch, key.indices)
        try:
            return self._batch(key)
        finally:
            self.work.end()

    def _batch(self, key: BatchKey) -> Any:
        kept, why, skipped = self._without_left_out(key), "", list[int]()
        while True:
            try:
                batch = self.store.take(kept, key.epoch)
                break
            except Unreadable as error:
                if not self.skip:
                    raise
                why, skipped = why or str(error), skipped + error.indices
                kept = kept[~np.isin(kept, error.indices)]
                if not len(kept):
                    text = f"none of the {len(key.indices)} samples of a batch can be read: {why}"
                    raise Unreadable(text, skipped) from error
        if self.transform:
            batch = self.transform(batch, kept, key.epoch)
        if skipped:
            batch = _marked(batch, skipped, why)
        return _shared(batch) if get_worker_info() is not None else batch

    def _without_left_out(self, key: BatchKey) -> Indices:
        if not self.store.left_out:
            return key.indices
        kept = [index for index in key.indices.tolist() if (key.epoch, index) not in self.store.left_out]
        return np.array(kept, np.int64)


class BatchLoader(DataLoader[Any]):
    """A loader of whole batches that reads in this process without PyTorch's detours, which cost a small net's step."""

    def __iter__(self) -> Any:
        if self.num_workers or self.pin_memory:
            return super().__iter__()
        return (self.dataset[key] for key in self.sampler)


def loader(
    store: Store,
    order: TrainOrder | EvalOrder,
    *,
    transform: Transform | None = None,
    workers: int = 0,
    prefetch: int | None = None,
    pin: bool = False,
    timeout: int = 0,
    unreadable: Literal["stop", "skip"] = "stop",
) -> DataLoader[Any]:
    """A loader of whole batches; each worker makes every `workers`-th one.

    `batch_size=None` turns off PyTorch's sample-by-sample collation: the store takes a batch by index.

    Args:
        store: The samples.
        order: Which of them make each batch.
        transform: As for `Batches`.
        workers: Processes that read ahead; 0 reads in this one.
        prefetch: Batches that each worker is ahead; None: as PyTorch does, two.
        pin: Put batches where a GPU can fetch them.
        timeout: Seconds to wait for a worker's batch; 0: for ever.
        unreadable: Whether a sample that cannot be read stops or is left out of its batch.
    """
    return BatchLoader(
        Batches(store, transform, skip=unreadable == "skip", work=Work(workers) if workers else None),
        sampler=order,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=prefetch if workers else None,
        persistent_workers=workers > 0,
        multiprocessing_context=store.start_method if workers else None,
        pin_memory=pin and torch.cuda.is_available(),
        timeout=timeout if workers else 0,
        # Else the loader draws its workers' base seed from the global generator, once an epoch.
        generator=torch.Generator().manual_seed(0),
    )


def _marked(batch: Any, skipped: list[int], why: str) -> Any:
    """The batch with the samples that it lacks, by which training counts and repeats what was decided."""
    if not (isinstance(batch, dict) and "index" in batch):
        raise Unreadable(f"{why}; it cannot be skipped, since this batch goes to steps of the person's own, which "
                         "would not know of what it lacks", skipped)  # fmt: skip
    return {**batch, SKIPPED: torch.tensor(skipped, dtype=torch.int64)}


def _shared(batch: Any) -> Any:
    """The batch in memory that the training process sees, where it goes anyhow.

    Were this left to the queue that carries batches, a full /dev/shm would end in a thread of the worker, and
    training would wait for a batch that never comes.
    """
    if isinstance(batch, torch.Tensor):
        if batch.device.type == "cpu" and batch.layout == torch.strided:
            batch.share_memory_()  # type: ignore[no-untyped-call]
        return batch
    parts = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, list | tuple) else ()
    for part in parts:
        _shared(part)
    return batch
