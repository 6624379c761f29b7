"""Faults of data and of the processes that read it: what goes on, what stops, and the sentence that says why."""

from __future__ import annotations

import os
import random
import resource
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import torchkiln
from torchkiln.codec.image import ImageCodec
from torchkiln.data import findings_images, sources
from torchkiln.data.loader import loader
from torchkiln.data.order import Shard, TrainOrder
from torchkiln.data.store import ArrayStore, Indices, StreamStore, Unreadable
from torchkiln.data.workers import at_work, restart, worker_fault
from torchkiln.errors import DataError
from torchkiln.recipe.schema import Data


class Slow(ArrayStore):
    """Sample 17 makes its worker stop for good, until it is told not to."""

    def __init__(self) -> None:
        super().__init__({"x": np.arange(64.0)}, np.arange(64))
        self.stops = True

    def take(self, indices: Indices, epoch: int) -> Any:
        if self.stops and 17 in indices and torch.utils.data.get_worker_info():
            os.kill(os.getpid(), signal.SIGSTOP)
        return super().take(indices, epoch)


def order_of(n: int = 64, batch: int = 8) -> TrainOrder:
    order = TrainOrder(n, batch, seed=0)
    order.set_epoch(1)
    return order


def indices_of(batches: Any) -> list[list[int]]:
    return [batch["index"].tolist() for batch in batches]


def test_fault_06_a_killed_worker_is_named_and_the_epoch_goes_on_at_the_same_step() -> None:
    store, order = ArrayStore({"x": np.arange(64.0)}, np.arange(64)), order_of()
    whole = indices_of(loader(store, order))
    batches = loader(store, order, workers=2)
    seen: list[list[int]] = []

    def train() -> None:
        for batch in batches:
            seen.append(batch["index"].tolist())
            if len(seen) == 1:
                os.kill(batches._iterator._workers[1].pid, signal.SIGKILL)  # type: ignore[union-attr]

    with pytest.raises((RuntimeError, ConnectionError)) as caught:
        train()
    assert worker_fault(caught.value) == "died"
    restart(batches)
    order.start_at(1, len(seen))
    assert seen + indices_of(batches) == whole


@pytest.mark.slow
def test_fault_07_a_worker_that_hangs_is_named_with_its_samples_and_replaced() -> None:
    store, order = Slow(), order_of()
    batches = loader(store, order, workers=2, timeout=3)
    with pytest.raises(RuntimeError) as caught:
        indices_of(batches)
    assert worker_fault(caught.value) == "hung"
    batch = next(i for i, whole in enumerate(order.batches(1)) if 17 in whole)
    first = ", ".join(str(i) for i in order.batches(1)[batch])
    assert f"worker {batch % 2} was reading 8 samples of epoch 1 ({first})" in at_work(batches, caught.value)
    store.stops = False
    restart(batches)
    order.start_at(1, batch)
    assert indices_of(batches) == [whole.tolist() for whole in order.batches(1)[batch:]]


AFTER_THREADS = """
import faulthandler
import numpy as np, polars as pl, torch
from torchkiln.codec.base import InputCodec
from torchkiln.data.loader import loader
from torchkiln.data.order import EvalOrder
from torchkiln.data.own import read
from torchkiln.data.store import ArrayStore, StreamStore


class Codec(InputCodec):
    kind = "plain"

    def encode(self, frame):
        return {"x": frame.with_columns(pl.col("x").sort_by("y"))["x"].to_numpy()}

    def specs(self):
        return []

    def state(self):
        return {}

    @classmethod
    def from_state(cls, state, folder):
        return cls()


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, i):
        return torch.randn(300, 300) @ torch.randn(300, 300), i


if __name__ == "__main__":
    faulthandler.dump_traceback_later(200, exit=True)  # a deadlock shows where
    torch.set_num_threads(2)
    frame = pl.DataFrame({"x": np.arange(40.0), "y": np.arange(40.0)})
    big = pl.DataFrame({"k": np.arange(500_000) % 1000, "v": np.arange(500_000.0)})
    big.group_by("k").agg(pl.col("v").sum())  # the threads of polars run now
    torch.randn(2000, 500) @ torch.randn(500, 2000)  # and those of torch
    own = read((Rows(), Rows()), 0).splits["train"].store
    for store in (ArrayStore({"x": np.arange(40.0)}, None), own, StreamStore(Codec(), frame, None)):
        batches = loader(store, EvalOrder(40, 8), workers=2, timeout=60)
        assert [b["index"][0].item() for b in batches] == [0, 8, 16, 24, 32]
    print("all read")
"""


@pytest.mark.slow
def test_fault_12_workers_begun_after_threads_do_not_wait_for_ever(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(AFTER_THREADS, encoding="utf-8")
    done = in_process(tmp_path / "program.py", OMP_NUM_THREADS="2", POLARS_MAX_THREADS="2")
    assert done.stdout == "all read\n", done.stderr


def in_process(program: Path, *before: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python program that ends within minutes, or hangs and so fails."""
    return subprocess.run(
        [*before, sys.executable, str(program)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


# Pictures


def streamed(folder: Path) -> StreamStore:
    frame = sources.read(Data(path=str(folder)), "images").frame
    return StreamStore(ImageCodec("image", 8), frame, np.zeros(len(frame), np.int64))


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_fault_27_a_file_that_was_removed_is_named(pictures: Path, workers: int) -> None:
    batches = loader(streamed(pictures), order_of(40, 8), workers=workers)
    (pictures / "bees" / "07.png").unlink()
    with pytest.raises(Unreadable) as caught:
        list(batches)
    assert str(caught.value) == f"{pictures / 'bees' / '07.png'}: there is no such file"


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_fault_28_an_unreadable_sample_stops_or_is_skipped_and_left_out_again(pictures: Path, workers: int) -> None:
    store, order = streamed(pictures), order_of(40, 8)
    bad = pictures / "ants" / "03.png"
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Unreadable, match=r"ants/03\.png is (damaged|cut short)"):
        list(loader(store, order, workers=workers))
    batches = list(loader(store, order, workers=workers, unreadable="skip"))
    told = [(1, int(i)) for batch in batches for i in batch.get("skipped", [])]
    assert told == [(1, 3)]
    assert indices_of(batches) == [[i for i in b.tolist() if i != 3] for b in order.batches(1)]
    # A life that begins again does as was decided, though the picture can be read by now.
    bad.write_bytes(whole)
    store.leave_out(told)
    again = list(loader(store, order, workers=workers, unreadable="skip"))
    assert indices_of(again) == indices_of(batches)
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(again, batches, strict=True))
    order.set_epoch(2)
    assert sorted(i for b in indices_of(loader(store, order)) for i in b) == list(range(40))


@pytest.mark.parametrize("wrong", [float("nan"), 9])
def test_fault_29_targets_that_cannot_be_learnt_are_refused_before_training(wrong: float, tmp_path: Path) -> None:
    """Those of files: tests/e2e/test_bad_input.py, tests/unit/data/test_findings.py."""
    target = torch.arange(60) % 3
    if wrong == 9:
        target[20] = 9
        net, loss = nn.Linear(4, 3), "cross_entropy"
    else:
        target = target.float()[:, None]
        target[20] = wrong
        net, loss = nn.Linear(4, 1), "mse"
    data = TensorDataset(torch.randn(60, 4), target)
    with pytest.raises(DataError, match=f"a training target is {wrong}"):
        torchkiln.fit(model=net, loss=loss, data=(data, data), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Shuffled:
    """A folder listed in another order each time; stands in for `os.scandir` and `os.listdir`."""

    def __init__(self, seed: int) -> None:
        self.random, self.scandir, self.listdir = random.Random(seed), os.scandir, os.listdir

    def names(self, path: Any = ".") -> list[Any]:
        found = self.listdir(path)
        self.random.shuffle(found)
        return found

    def entries(self, path: Any = ".") -> Shuffled.Entries:
        with self.scandir(path) as found:
            listed = list(found)
        self.random.shuffle(listed)
        return Shuffled.Entries(listed)

    class Entries:
        def __init__(self, listed: list[Any]) -> None:
            self.listed = iter(listed)

        def __iter__(self) -> Iterator[Any]:
            return self.listed

        def __next__(self) -> Any:
            return next(self.listed)

        def __enter__(self) -> Shuffled.Entries:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def close(self) -> None:
            pass


@pytest.mark.parametrize("kind", ["pictures", "tables"])
def test_fault_30_the_order_in_which_files_are_listed_changes_nothing(
    kind: str, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "pictures":
        for i in range(4):
            (pictures / "ants" / f"note{i}.{'ab'[i % 2]}").touch()
        (pictures / "bees" / "more").symlink_to(pictures / "ants")
        (pictures / "bees" / "again").symlink_to(pictures / "ants")
        data, known = Data(path=str(pictures)), "images"
    else:
        folder = pictures.parent / "tables"
        folder.mkdir()
        for i in range(6):
            pl.DataFrame({"x": [i, i + 1], "y": ["a", "b"]}).write_csv(folder / f"train-{i:05}-of-00006.csv")
        data, known = Data(path=str(folder), target="y"), "table"
    usual = sources.read(data, known)  # type: ignore[arg-type]
    orders = set()
    for seed in range(4):
        shuffled = Shuffled(seed)
        monkeypatch.setattr(os, "listdir", shuffled.names)
        monkeypatch.setattr(os, "scandir", shuffled.entries)
        orders.add(tuple(os.listdir(data.path)))
        other = sources.read(data, known)  # type: ignore[arg-type]
        monkeypatch.undo()
        assert other.frame.equals(usual.frame)
        assert (other.digest, other.findings) == (usual.digest, usual.findings)
    assert len(orders) > 1


@pytest.mark.parametrize("world", [1, 2, 3])
def test_fault_32_a_last_batch_of_one_sample_is_joined_to_the_one_before(world: int) -> None:
    """Batch normalisation refuses a single sample, on each process."""
    net = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4))
    for n in (8 * world + 1, 8 * world + world, 16 * world + 1):
        store = ArrayStore({"x": np.ones((n, 1), np.float32)}, None)
        seen: list[int] = []
        for rank in range(world):
            for batch in loader(store, TrainOrder(n, 8, seed=0, shard=Shard(rank, world))):
                net(batch["x"])
                seen += batch["index"].tolist()
        assert sorted(seen) == list(range(n))


# What the machine has too little of


NO_SHARED_MEMORY = """
import subprocess, sys
import numpy as np, torch
from torchkiln.data.loader import loader
from torchkiln.data.order import TrainOrder
from torchkiln.data.store import ArrayStore
from torchkiln.data.workers import at_work, restart, worker_fault

if __name__ == "__main__":
    store, order = ArrayStore({"x": np.ones((32, 500_000), np.float32)}, np.arange(32)), TrainOrder(32, 8, seed=0)
    whole = [b["index"].tolist() for b in loader(store, order)]
    batches, seen = loader(store, order, workers=2, timeout=200), []
    try:
        for batch in batches:
            seen.append(batch["index"].tolist())
    except Exception as error:
        print(worker_fault(error))
    restart(batches, 0)
    order.start_at(0, len(seen))
    print(seen + [b["index"].tolist() for b in batches] == whole)
"""


@pytest.mark.slow
def test_fault_42_without_shared_memory_the_training_process_reads_for_itself(
    small_shared_memory: list[str], tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(NO_SHARED_MEMORY, encoding="utf-8")
    done = in_process(tmp_path / "program.py", *small_shared_memory)
    assert done.stdout == "shared_memory\nTrue\n", done.stderr


OUT_OF_FILES = """
import resource, sys
import numpy as np
from torchkiln.data.loader import loader
from torchkiln.data.order import EvalOrder
from torchkiln.data.store import ArrayStore
from torchkiln.data.workers import out_of_files, restart, worker_fault

if __name__ == "__main__":
    store = ArrayStore({name: np.ones((500, 3)) for name in "abcdef"}, None)
    batches = loader(store, EvalOrder(500, 4), workers=2, timeout=60)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    kept = []
    try:
        for batch in batches:  # each tensor that a worker made and that is kept is an open file
            kept.append(batch)
    except Exception as error:
        found = error
    kept.clear()
    print(worker_fault(found), out_of_files(found))
    restart(batches, 0)
    print(len(list(batches)))
"""


@pytest.mark.slow
def test_fault_44_too_many_open_files_are_told_with_the_limit(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(OUT_OF_FILES, encoding="utf-8")
    done = in_process(tmp_path / "program.py")
    assert "None too many files are open at once: the limit is 64 a process; raise it by `ulimit -n " in done.stdout, (
        done.stdout + done.stderr
    )
    assert done.stdout.endswith("\n125\n")


def test_fault_61_a_picture_that_would_unpack_to_gigabytes_is_refused_unopened(pictures: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(150_001 * 100), 9)
    bomb = pictures / "bees" / "bomb.png"
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"bomb\.png is too large a picture"):
        ImageCodec("image", 8).encode(pl.DataFrame({"image": [str(bomb)]}))
    _, found = findings_images.check(sources.read(Data(path=str(pictures)), "images").frame)
    assert any("bomb.png" in f.text and "too large a picture" in f.text for f in found)
    grown_by = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_by < 1000  # MiB; unpacked it has 7,000
