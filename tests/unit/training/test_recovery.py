"""What a failed fit can be helped by, and what not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from torchkiln.data.replayed import Replayed
from torchkiln.errors import RunFailed
from torchkiln.runs.decisions import Decisions
from torchkiln.training import recovery as recovering
from torchkiln.training.finite import NotFinite
from torchkiln.training.recovery import At, Recovery


def recovery(run: Path, **settings: Any) -> Recovery:
    return Recovery(Decisions(run), **{"batch_size": 8, "skip": True, "loaders": [], "can_split": True, **settings})


def test_memory_that_is_short_halves_the_part_until_one_sample_is_left(tmp_path: Path) -> None:
    short, found = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), recovery(tmp_path)
    for parts in (2, 4, 8):
        said = found.recover(short, At(step=5))
        assert f"in {parts} parts" in said and "Tried to allocate 2.00 GiB" in said
        assert Decisions(tmp_path).parts(5) == parts and Decisions(tmp_path).parts(4) == 1
    with pytest.raises(RunFailed, match="with one sample at a time"):
        found.recover(short, At(step=5))


def test_training_and_validation_are_told_apart(tmp_path: Path) -> None:
    said = recovery(tmp_path).recover(MemoryError(), At(step=3, validating=True))
    assert "out of memory in validation" in said
    assert (Decisions(tmp_path).parts(9), Decisions(tmp_path).parts(9, "eval_parts")) == (1, 2)


def test_a_persons_own_steps_cannot_be_cut(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"lower train\.batch_size"):
        recovery(tmp_path, can_split=False).recover(MemoryError(), At())


def test_a_batch_that_is_not_finite_is_searched_for_and_then_left_out(tmp_path: Path) -> None:
    bad, found = NotFinite("the loss", 1, 2, 12, [4, 5]), recovery(tmp_path)
    assert "is searched for" in found.recover(bad, At()) and found.closely
    assert "is left out" in found.recover(bad, At()) and not found.closely
    assert Decisions(tmp_path).skips(1, 2)


def test_it_stops_where_nothing_may_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(NotFinite):
        recovery(tmp_path, skip=False).recover(NotFinite("the loss", 1, 2, 12, []), At())


def test_a_run_that_would_leave_out_ever_more_stops(tmp_path: Path) -> None:
    found = recovery(tmp_path)
    for batch in range(recovering.MOST_SKIPPED):
        for _ in range(2):
            found.recover(NotFinite("the loss", 0, batch, batch, []), At())
    found.recover(NotFinite("the loss", 1, 0, 99, []), At())
    with pytest.raises(RunFailed, match="10 batches were left out, and still"):
        found.recover(NotFinite("the loss", 1, 0, 99, []), At())


def test_dead_workers_are_started_again_and_at_last_done_without(tmp_path: Path) -> None:
    loader = torch.utils.data.DataLoader([1, 2], num_workers=2)
    found, dead = recovery(tmp_path, loaders=[loader]), RuntimeError("DataLoader worker (pid 7) is killed by signal: K")
    for _ in range(recovering.WORKER_LIVES):
        assert "the workers are started again" in found.recover(dead, At(step=4))
        assert loader.num_workers == 2
    assert "read in the training process" in found.recover(dead, At(step=4))
    assert loader.num_workers == 0
    with pytest.raises(RunFailed, match=r"cannot go on at step 4: .* is killed by signal"):
        found.recover(dead, At(step=4))


def test_a_loader_whose_batches_depend_on_its_workers_is_not_left_without(tmp_path: Path) -> None:
    own = Replayed(torch.utils.data.DataLoader([1, 2], num_workers=2), 0, "train")
    error = RuntimeError("unable to write to file </torch_1_2_3>: No space left on device (28)")
    with pytest.raises(RunFailed, match="num_workers=0 in a new run"):
        recovery(tmp_path, loaders=[own]).recover(error, At())


def test_without_shared_memory_there_are_no_workers(tmp_path: Path) -> None:
    loader = torch.utils.data.DataLoader([1, 2], num_workers=2)
    error = RuntimeError("unable to write to file </torch_1_2_3>: No space left on device (28)")
    assert "no shared memory" in recovery(tmp_path, loaders=[loader]).recover(error, At())
    assert loader.num_workers == 0


def test_too_many_open_files_are_told_with_the_limit(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="the limit is"):
        recovery(tmp_path).recover(OSError(24, "Too many open files"), At())


def test_anything_else_is_nobodys_to_help(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        recovery(tmp_path).recover(ZeroDivisionError(), At())
