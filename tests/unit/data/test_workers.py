"""What befell a worker is told from what its loader raises, and new ones take over."""

import errno
import os
import signal
import time
from typing import Any

import numpy as np
import pytest

from torchkiln.data.loader import loader
from torchkiln.data.order import EvalOrder
from torchkiln.data.replayed import Replayed
from torchkiln.data.store import ArrayStore, Indices
from torchkiln.data.workers import Fault, Work, at_work, out_of_files, restart, worker_fault


class Mishap(ArrayStore):
    """Something befalls the process that reads sample 17."""

    def __init__(self, what: str) -> None:
        super().__init__({"x": np.arange(40.0)}, None)
        self.what = what

    def take(self, indices: Indices, epoch: int) -> Any:
        if 17 in indices and self.what == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if 17 in indices and self.what == "asleep":
            time.sleep(600)
        if 17 in indices and self.what == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        return super().take(indices, epoch)


def raised_by(batches: Any) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # which it is, is what is looked at
        for _ in batches:
            pass
    return caught.value


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("DataLoader worker (pid 12) is killed by signal: Killed. ", "died"),
        ("DataLoader worker (pid(s) 12, 13) exited unexpectedly", "died"),
        ("DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that ...", "shared_memory"),
        (
            "unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)",
            "shared_memory",
        ),
        ("unable to open shared memory object </torch_1_2_3> in read-write mode: Permission denied", "shared_memory"),
        ("unable to open shared memory object </torch_1_2> in read-write mode: Too many open files (24)", None),
        ("DataLoader timed out after 300 seconds", "hung"),
        ("the server exited unexpectedly", None),
        ("mat1 and mat2 shapes cannot be multiplied", None),
    ],
)
def test_a_fault_is_told_by_what_the_loader_says(text: str, fault: Fault | None) -> None:
    assert worker_fault(RuntimeError(text)) == fault
    wrapped = ValueError("the training failed")
    wrapped.__cause__ = RuntimeError(text)
    assert worker_fault(wrapped) == fault


def test_a_full_shared_memory_is_told_from_a_full_disk() -> None:
    assert worker_fault(OSError(errno.ENOSPC, "No space left on device", "/dev/shm/pym-1")) == "shared_memory"
    assert worker_fault(OSError(errno.ENOSPC, "No space left on device", "/run/metrics.csv")) is None


def test_a_batch_that_cannot_be_fetched_from_a_dead_worker_is_told_from_other_lost_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ended(seconds: float) -> None:
        raise RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. ")

    monkeypatch.setattr("torchkiln.data.workers.time.sleep", ended)
    names: dict[str, Any] = {}
    code = "def fetch():\n    raise ConnectionResetError(104, 'reset')"
    # A frame of the file that fetches, without a race between two processes.
    exec(compile(code, "/x/torch/multiprocessing/reductions.py", "exec"), names)
    error = raised_by(names["fetch"]() for _ in range(1))
    assert worker_fault(error) == "died" and "pid 12" in str(error.__cause__)
    assert worker_fault(ConnectionResetError(104, "reset")) is None


def test_a_worker_that_died_is_named_with_its_samples_and_a_new_one_reads_on() -> None:
    batches = loader(Mishap("killed"), EvalOrder(40, 8), workers=2)
    error = raised_by(batches)
    assert worker_fault(error) == "died"
    assert at_work(batches, error) == (
        "worker 0 was reading 8 samples of epoch 0 (16, 17, 18, 19, 20, 21, 22, 23)"
    )  # fmt: skip
    batches.dataset.store.what = ""  # type: ignore[attr-defined]
    restart(batches)
    assert [b["index"][0].item() for b in batches] == [0, 8, 16, 24, 32]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["asleep", "deaf"])
def test_a_worker_that_hangs_is_named_and_ended(what: str) -> None:
    batches = loader(Mishap(what), EvalOrder(40, 8), workers=2, timeout=2)
    error = raised_by(batches)
    assert worker_fault(error) == "hung"
    assert at_work(batches, error).startswith("worker 0 was reading 8 samples of epoch 0 (16, 17,")
    processes = batches._iterator._workers  # type: ignore[union-attr]
    batches.dataset.store.what = ""  # type: ignore[attr-defined]
    restart(batches)
    assert not any(process.is_alive() for process in processes)
    assert [b["index"][0].item() for b in batches] == [0, 8, 16, 24, 32]


def test_another_number_of_workers_gives_the_same_batches() -> None:
    batches = loader(Mishap(""), EvalOrder(40, 8), workers=2, timeout=60)
    first = [b["x"].tolist() for b in batches]
    for count in (0, 1):
        restart(batches, count)
        assert [b["x"].tolist() for b in batches] == first
    restart(Replayed(batches, 0, "train"), 0)
    assert batches.num_workers == 1  # such a loader may give others with another number
    restart(batches)


def test_many_samples_are_told_of_by_the_first_and_a_single_one_by_itself() -> None:
    order = EvalOrder(40, 40)
    alone = loader(Mishap(""), order, workers=1)
    list(alone)
    process = alone._iterator._workers[0]  # type: ignore[union-attr]
    named = RuntimeError(f"DataLoader worker (pid {process.pid}) is killed by signal: Killed")
    assert at_work(alone, named) == "worker 0 had just read 40 samples of epoch 0 (0, 1, 2, 3, 4, 5, 6, 7, ...)"
    assert at_work(alone) == "" == at_work(loader(Mishap(""), order))
    restart(alone)
    single = loader(Mishap("killed"), EvalOrder(18, 17), workers=1)
    assert at_work(single, raised_by(single)) == "worker 0 was reading 1 sample of epoch 0 (17)"


def test_the_training_process_itself_notes_nothing() -> None:
    work = Work(1)
    work.begin(0, np.arange(3))
    work.end()
    assert work.words(set()) == []


def test_too_many_open_files_name_the_limit_and_other_errors_do_not() -> None:
    for error in (OSError(errno.EMFILE, "Too many open files"), RuntimeError("received 0 items of ancdata")):
        assert "ulimit -n" in str(out_of_files(error)) and worker_fault(error) is None
    assert out_of_files(OSError(errno.ENOENT, "No such file")) is None
