"""The private fields of Lightning that exact resume stands on."""

from types import SimpleNamespace
from typing import Any

import lightning.pytorch as L
import pytest
import torch
import torchmetrics
from lightning.pytorch.callbacks import StochasticWeightAveraging
from torch import nn

from torchkiln.errors import ModelError, RunFailed
from torchkiln.training import lightning_state


def trainer() -> L.Trainer:
    made = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
                     enable_checkpointing=False)  # fmt: skip
    module = L.LightningModule()
    module.metric, module.part = torchmetrics.MeanMetric(), nn.Dropout()
    made.strategy.connect(module)
    made.strategy._lightning_module = module
    module.trainer = made
    return made


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
    before = trainer()
    state = {**lightning_state.capture(before, batch=0), **lightning_state.capture_metrics(before.lightning_module)}
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


def test_what_a_module_accumulates_and_its_modes_come_back() -> None:
    before = trainer()
    module = before.lightning_module
    for value in (1.0, 2.0, 6.0):
        module.metric.update(torch.tensor(value))
    module.part.eval()
    results = before.fit_loop.epoch_loop._results
    for value in (4.0, 6.0):
        results.log("training_step", "loss", torch.tensor(value), on_epoch=True, batch_size=2,
                    sync_dist_fn=before.strategy.reduce)  # fmt: skip
        results.log("training_step", "most", torch.tensor(value), on_epoch=True, reduce_fx=torch.max, batch_size=1,
                    sync_dist_fn=before.strategy.reduce)  # fmt: skip
    state = {**lightning_state.capture(before, batch=2), **lightning_state.capture_metrics(module)}

    resumed = trainer()
    lightning_state.restore_once(resumed, state, then=lambda: None)
    resumed.fit_loop.epoch_loop.reset()
    module, results = resumed.lightning_module, resumed.fit_loop.epoch_loop._results
    assert module.metric.compute().item() == 3.0 and not module.part.training
    # Lightning refuses a value that is logged with other arguments than before
    results.log("training_step", "loss", torch.tensor(11.0), on_epoch=True, batch_size=2,
                sync_dist_fn=resumed.strategy.reduce)  # fmt: skip
    found = results.metrics(on_step=False)["callback"]
    assert found["loss"].item() == 7.0 and found["most"].item() == 6.0


def test_metrics_of_one_compute_group_are_all_brought_up_to_date() -> None:
    before = trainer()
    metrics = torchmetrics.MetricCollection([torchmetrics.classification.BinaryPrecision(),
                                             torchmetrics.classification.BinaryRecall()])  # fmt: skip
    before.lightning_module.metrics = metrics
    for _ in range(3):
        metrics.update(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([1, 0, 1]))
    states = lightning_state.capture_metrics(before.lightning_module)["metrics"]
    assert [states[f"metrics.{name}"]["tp"].item() for name in ("BinaryPrecision", "BinaryRecall")] == [3, 3]


def test_lightnings_own_swa_is_refused_with_ours_beside_it() -> None:
    made = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
                     enable_checkpointing=False, callbacks=[StochasticWeightAveraging(swa_lrs=0.1)])  # fmt: skip
    with pytest.raises(ModelError, match=r"set train\.swa"):
        lightning_state.check(made)
