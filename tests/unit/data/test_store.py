"""Batches by index from memory, from a codec, from a person's dataset."""

import errno
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from torchkiln.codec.base import BATCH, Arrays, ArraySpec, InputCodec, Ragged
from torchkiln.data.store import ArrayStore, DatasetStore, DeviceStore, StreamStore, Unreadable
from torchkiln.errors import DataError


class Doubling(InputCodec):
    kind = "doubling"

    def encode(self, frame: pl.DataFrame) -> Arrays:
        return {"x": frame["x"].to_numpy() * 2}

    def specs(self) -> list[ArraySpec]:
        return [ArraySpec("x", "float64", (BATCH,))]

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


class Picky(Doubling):
    """Odd numbers cannot be read; above 100 the machine is out of files."""

    def encode(self, frame: pl.DataFrame) -> Arrays:
        for x in frame["x"].to_list():
            if x > 100:
                raise DataError("too many") from OSError(errno.EMFILE, "Too many open files")
            if x % 2:
                raise ValueError(f"{x:g}.png is damaged")
        return super().encode(frame)


def test_rows_that_cannot_be_read_are_found_each_by_itself() -> None:
    store = StreamStore(Picky(), pl.DataFrame({"x": np.arange(10.0)}), None)
    with pytest.raises(Unreadable, match=r"^3\.png is damaged \(1 more of the 4 samples") as caught:
        store.take(np.array([4, 3, 2, 7]), 0)
    assert caught.value.indices == [3, 7] and isinstance(caught.value.__cause__, ValueError)


def test_what_is_not_the_rows_fault_is_no_reason_to_leave_it_out() -> None:
    store = StreamStore(Picky(), pl.DataFrame({"x": [0.0, 2.0, 102.0]}), None)
    with pytest.raises(DataError, match="too many") as caught:
        store.take(np.arange(3), 0)
    assert not isinstance(caught.value, Unreadable)

    class Hungry:
        def __getitem__(self, index: int) -> int:
            raise MemoryError

    with pytest.raises(MemoryError):
        DatasetStore(Hungry(), list, lambda epoch, index: None).take(np.arange(2), 0)


def test_a_codec_that_fails_on_rows_together_alone_is_not_their_fault_either() -> None:
    class Narrow(Doubling):
        def encode(self, frame: pl.DataFrame) -> Arrays:
            if len(frame) > 1:
                raise RuntimeError("one at a time")
            return super().encode(frame)

    with pytest.raises(RuntimeError, match="one at a time"):
        StreamStore(Narrow(), pl.DataFrame({"x": [0.0, 2.0]}), None).take(np.arange(2), 0)


def test_a_persons_samples_that_raise_are_named_with_what_was_raised() -> None:
    class Rows:
        def __getitem__(self, index: int) -> int:
            return {0: 1, 2: 5}[index]

    store = DatasetStore(Rows(), list, lambda epoch, index: None)
    assert store.take(np.array([0, 2]), 0) == [1, 5]
    with pytest.raises(Unreadable, match=r"^sample 1 cannot be read: KeyError: 1 \(1 more of the 4") as caught:
        store.take(np.array([0, 1, 2, 3]), 0)
    assert caught.value.indices == [1, 3]


def test_what_is_left_out_adds_up() -> None:
    store, other = ArrayStore({"x": np.arange(3)}, None), ArrayStore({"x": np.arange(3)}, None)
    store.leave_out([(0, 1)])
    store.leave_out({(2, 1)})
    assert store.left_out == {(0, 1), (2, 1)} and not other.left_out


def test_samples_on_a_device_give_what_memory_gives() -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(0, 5, 20)
    ids = Ragged(random.integers(1, 99, lengths.sum()), np.concatenate([[0], np.cumsum(lengths)]), pad=7)
    pairs = Ragged(random.normal(size=(int(lengths.sum()), 2)), ids.offsets)
    inputs = {"x": random.integers(0, 256, (20, 3, 3), np.uint8), "ids": ids, "pairs": pairs}
    memory = ArrayStore(inputs, np.arange(20.0))
    device = DeviceStore(inputs, np.arange(20.0), "cpu")
    assert len(device) == 20 and not device.in_processes
    assert np.array_equal(device.lengths, memory.lengths)  # type: ignore[arg-type]
    for indices in (np.array([3, 19, 0]), np.flatnonzero(lengths == 0)[:2], np.arange(20)):
        found, wanted = device.take(indices, 0), memory.take(indices, 0)
        assert found.keys() == wanted.keys()
        for name in wanted:
            assert found[name].dtype == wanted[name].dtype
            assert torch.equal(found[name], wanted[name]), name
