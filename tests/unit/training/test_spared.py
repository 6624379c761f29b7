"""What a step is spared changes nothing of what it does."""

from __future__ import annotations

import os
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.trainer.states import RunningStage

from torchkiln.training import spared


def test_the_trainer_says_of_its_stage_what_lightnings_says() -> None:
    lean = spared.LeanTrainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
    said = type(lean).training.fget, L.Trainer.training.fget  # type: ignore[attr-defined]
    for stage in (None, *RunningStage):
        lean.state.stage = stage
        assert said[0](lean) == said[1](lean)
    lean.training = False
    assert lean.state.stage is not None, "only training is ended by saying so"
    lean.training = True
    assert lean.state.stage is RunningStage.TRAINING
    lean.training = False
    assert lean.state.stage is None


def test_the_trainer_holds_the_module_that_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    lean = spared.LeanTrainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
    assert lean.lightning_module is None
    module, seen = L.LightningModule(), list[Any]()
    monkeypatch.setattr(
        L.Trainer, "fit", lambda self, model, *args, **more: seen.append((self.lightning_module, args, more))
    )
    lean.fit(module, "batches", ckpt_path="here")  # type: ignore[arg-type]
    assert seen == [(module, ("batches",), {"ckpt_path": "here"})]


def test_the_drivers_library_is_not_searched_where_there_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(spared.DRIVER_SEARCH, "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with spared.no_driver_search():
        assert spared.DRIVER_SEARCH not in os.environ
    assert os.environ[spared.DRIVER_SEARCH] == "1"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with spared.no_driver_search():
        assert os.environ[spared.DRIVER_SEARCH] == "1"


def test_what_measures_nothing_may_be_nested() -> None:
    profiler, entered = spared.NoProfiler(), 0
    with profiler.profile("outer"), profiler.profile("inner"):
        entered += 1
    assert entered == 1 and profiler.summary() == ""
