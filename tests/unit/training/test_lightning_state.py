"""The private fields of Lightning that exact resume stands on."""

from types import SimpleNamespace
from typing import Any

import lightning.pytorch as L
import pytest

from torchkiln.errors import RunFailed
from torchkiln.training import lightning_state


def trainer() -> L.Trainer:
    return L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
                     enable_checkpointing=False)  # fmt: skip


def test_this_lightning_has_them_all() -> None:
    lightning_state.check(trainer())


def test_a_missing_field_is_named_with_the_version() -> None:
    without: Any = SimpleNamespace(fit_loop=SimpleNamespace(epoch_progress=None, epoch_loop=SimpleNamespace()))
    with pytest.raises(
        RunFailed, match=r"Lightning 2\.\d+\.\d+ has no Trainer.fit_loop.epoch_loop._batches_that_stepped"
    ):
        lightning_state.check(without)


def test_the_batch_that_has_begun_counts_as_not_begun() -> None:
    running = trainer()
    progress = running.fit_loop.epoch_loop.batch_progress
    for _ in range(3):
        progress.increment_ready()
        progress.increment_started()
        progress.increment_processed()
        progress.increment_completed()
    progress.increment_ready()
    state = lightning_state.capture(running, batch=3)
    assert state["progress"]["batch"]["current"]["ready"] == 3
    assert state["batch"] == 3 and state["first_loop_iter"] is False
    assert lightning_state.capture(running, batch=0)["first_loop_iter"] is None
    assert lightning_state.capture(running, batch=1)["first_loop_iter"] is True


def test_what_is_captured_is_written_back_at_the_first_reset_and_never_again() -> None:
    state = lightning_state.capture(trainer(), batch=0)
    state["progress"]["batch"]["current"]["completed"] = 7
    state["epoch"] = 4
    resumed = trainer()
    lightning_state.preset_epoch(resumed, state)
    assert resumed.current_epoch == 4
    calls: list[int] = []
    lightning_state.restore_once(resumed, state, then=lambda: calls.append(1))
    loop = resumed.fit_loop.epoch_loop
    loop.reset()
    assert loop.batch_progress.current.completed == 7 and calls == [1]
    loop.reset()
    assert loop.batch_progress.current.completed == 0 and calls == [1]
