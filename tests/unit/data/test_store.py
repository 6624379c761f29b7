"""Batches by index from memory, from a codec, from a person's dataset."""

from typing import Any

import numpy as np
import polars as pl
import torch

from torchkiln.codec.base import Arrays, InputCodec, Ragged
from torchkiln.data.store import ArrayStore, DatasetStore, StreamStore


class Doubling(InputCodec):
    kind = "doubling"

    def encode(self, frame: pl.DataFrame) -> Arrays:
        return {"x": frame["x"].to_numpy() * 2}

    def state(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_state(cls, state: dict[str, Any], folder: Any) -> "Doubling":
        return cls()


def test_a_stream_gives_what_memory_gives() -> None:
    frame = pl.DataFrame({"x": np.arange(10.0)})
    target = np.arange(10)
    memory = ArrayStore(Doubling().encode(frame), target)
    stream = StreamStore(Doubling(), frame, target)
    indices = np.array([7, 0, 3])
    for store in (memory, stream):
        batch = store.take(indices, 0)
        assert batch["x"].tolist() == [14, 0, 6]
        assert batch["target"].tolist() == batch["index"].tolist() == [7, 0, 3]
        assert len(store) == 10


def test_ragged_inputs_are_padded_and_give_lengths() -> None:
    store = ArrayStore({"ids": Ragged(np.array([1, 2, 3]), np.array([0, 1, 3]))}, None)
    batch = store.take(np.array([0, 1]), 0)
    assert batch["ids"].tolist() == [[1, 0], [2, 3]]
    assert "target" not in batch
    assert store.lengths is not None and store.lengths.tolist() == [1, 2]


def test_a_persons_sample_is_read_under_its_own_seed() -> None:
    class Noisy(torch.utils.data.Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> torch.Tensor:
            return torch.rand(())

    def seed(epoch: int, index: int) -> None:
        torch.default_generator.manual_seed(100 * epoch + index)

    store = DatasetStore(Noisy(), lambda samples: torch.stack(list(samples)), seed)
    first = store.take(np.array([0, 3, 4]), 1)
    torch.rand(17)  # what was drawn before makes no difference, nor does the company
    assert store.take(np.array([3]), 1)[0] == first[1]
    assert store.take(np.array([3]), 2)[0] != first[1]
