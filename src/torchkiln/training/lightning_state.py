"""What Lightning holds about a running fit beside its checkpoint: read at a safe point, written back once.

The only module that touches Lightning's private fields. Lightning's own restart logic is never woken: it
guesses from counters where a checkpoint was taken, and skips or repeats validation and schedulers. Here the
checkpoint is always taken at the top of a step, and a resume writes the state of that instant back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning
import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import StochasticWeightAveraging
from lightning.pytorch.trainer.connectors.logger_connector.result import _Metadata, _ResultMetric, _Sync
from torchmetrics import Metric, MetricCollection

from torchkiln.errors import ModelError, RunFailed

PROGRESS = {
    "batch": "batch_progress",
    "scheduler": "scheduler_progress",
    "optimizer": "automatic_optimization.optim_progress",
    "manual": "manual_optimization.optim_step_progress",
    "val_batch": "val_loop.batch_progress",
}
FIELDS = ("fit_loop.epoch_progress", "fit_loop.epoch_loop._batches_that_stepped", "fit_loop.epoch_loop._results",
          "_logger_connector._callback_metrics",
          "_logger_connector._logged_metrics", "_logger_connector._first_loop_iter", "_logger_connector._current_fx",
          *(f"fit_loop.epoch_loop.{path}" for path in PROGRESS.values()))  # fmt: skip
LOGGED_AS = ("fx", "name", "prog_bar", "logger", "on_step", "on_epoch", "enable_graph", "add_dataloader_idx",
             "dataloader_idx", "metric_attribute")  # fmt: skip
"""How a value was logged, as Lightning keeps it beside the value."""
ACCUMULATED = ("value", "cumulated_batch_size", "_forward_cache", "_computed", "_update_count", "has_reset")


def check(trainer: L.Trainer) -> None:
    """All private fields are where this module expects them, and no callback undoes exactness.

    Raises:
        RunFailed: A field is missing; exact resume would be silently lost.
        ModelError: The person's module brings Lightning's own SWA, which is not exact under a resume.
    """
    for path in FIELDS:
        try:
            _at(trainer, path)
        except AttributeError:
            raise RunFailed(
                f"Lightning {lightning.__version__} has no Trainer.{path}, which exact resume needs; "
                "install lightning>=2.6,<2.7"
            ) from None
    if any(isinstance(c, StochasticWeightAveraging) for c in trainer.callbacks):  # type: ignore[attr-defined]
        raise ModelError("configure_callbacks: Lightning's StochasticWeightAveraging does not come out the same after "
                         "a resume; take it out and set train.swa, such as train.swa=0.75")  # fmt: skip


def capture(trainer: L.Trainer, batch: int) -> dict[str, Any]:
    """The state at the top of a step, as JSON-ready data and tensors.

    Called in `on_train_batch_start`, after Lightning has counted the batch as begun.

    Args:
        batch: Index of the batch in its epoch, which is the first one that a resume will run.
    """
    loop, module = trainer.fit_loop.epoch_loop, trainer.lightning_module
    progress = {name: _at(loop, path).state_dict() for name, path in PROGRESS.items()}
    for part in ("total", "current"):
        progress["batch"][part]["ready"] = progress["batch"][part]["completed"]
    progress["batch"]["is_last_batch"] = False
    connector = trainer._logger_connector
    return {
        "progress": progress,
        "epoch_progress": trainer.fit_loop.epoch_progress.state_dict(),
        "epoch": trainer.current_epoch,
        "batch": batch,
        "batches_that_stepped": loop._batches_that_stepped,
        "should_stop": trainer.should_stop,
        "callback_metrics": {k: v.clone() for k, v in connector._callback_metrics.items()},
        "logged_metrics": {k: v.clone() for k, v in connector._logged_metrics.items()},
        "current_fx": connector._current_fx,
        # As it was before this batch: else the first log after a resume wipes the epoch's aggregate.
        "first_loop_iter": None if batch == 0 else batch == 1,
        "modes": {name: part.training for name, part in module.named_modules()},
        "requires_grad": {name: p.requires_grad for name, p in module.named_parameters()},
    }


def capture_metrics(module: L.LightningModule) -> dict[str, Any]:
    """What this process alone has accumulated in the epoch: values logged, and the states of torchmetrics."""
    results = module.trainer.fit_loop.epoch_loop._results
    return {
        "results": {key: _packed(result) for key, result in results.items()},
        "metrics": {name: {**metric.metric_state, "_update_count": metric._update_count}
                    for name, metric in _metrics(module).items()},
    }  # fmt: skip


def preset_epoch(trainer: L.Trainer, state: dict[str, Any]) -> None:
    """Before the fit begins: as many epochs are over as the state says."""
    epoch = state["epoch"]
    progress = trainer.fit_loop.epoch_progress
    for part in (progress.total, progress.current):
        part.load_state_dict({"ready": epoch, "started": epoch, "processed": epoch, "completed": epoch})
    _load_progress(trainer, state)


def restore_once(trainer: L.Trainer, state: dict[str, Any], then: Callable[[], None]) -> None:
    """Write the state back when the first epoch of this life has been reset by Lightning.

    Args:
        then: Called after that, for what is not Lightning's.
    """
    loop = trainer.fit_loop.epoch_loop
    real_reset = loop.reset

    def reset_then_restore() -> None:
        del loop.reset  # the instance's; the class's own is back
        real_reset()
        _load_progress(trainer, state)
        loop._batches_that_stepped = state["batches_that_stepped"]
        trainer.should_stop = state["should_stop"]
        connector = trainer._logger_connector
        connector._callback_metrics.update(state["callback_metrics"])
        connector._logged_metrics.update(state["logged_metrics"])
        connector._current_fx = state["current_fx"]
        connector._first_loop_iter = state["first_loop_iter"]
        _restore_module(trainer, state)
        then()

    loop.reset = reset_then_restore  # type: ignore[method-assign]


def _restore_module(trainer: L.Trainer, state: dict[str, Any]) -> None:
    module = trainer.lightning_module
    for name, part in module.named_modules():
        part.training = state["modes"].get(name, part.training)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(state["requires_grad"].get(name, parameter.requires_grad))
    for name, metric in _metrics(module).items():
        for field, value in state["metrics"][name].items():
            setattr(metric, field, _on(value, metric.device))
        metric._computed = None
    results = trainer.fit_loop.epoch_loop._results
    results.clear()
    for key, packed in state["results"].items():
        results[key] = _unpacked(packed, trainer)


def _packed(result: _ResultMetric) -> dict[str, Any]:
    meta = result.meta
    packed: dict[str, Any] = {field: getattr(meta, field) for field in LOGGED_AS}
    packed |= {"reduce": meta.reduce_fx.__name__, "sync": meta.sync.should, "sync_op": meta.sync.op,
               "rank_zero_only": meta.sync.rank_zero_only, "is_tensor": result.is_tensor}  # fmt: skip
    fields = ACCUMULATED if result.is_tensor else ACCUMULATED[2:]
    return packed | {"accumulated": {field: getattr(result, field) for field in fields if hasattr(result, field)}}


def _unpacked(packed: dict[str, Any], trainer: L.Trainer) -> _ResultMetric:
    # Rebuilt equal to what the next log will bring, which Lightning compares before it adds to a value.
    meta = _Metadata(**{field: packed[field] for field in LOGGED_AS}, reduce_fx=getattr(torch, packed["reduce"]))
    meta.sync = _Sync(_should=packed["sync"], fn=trainer.strategy.reduce, _op=packed["sync_op"],
                      rank_zero_only=packed["rank_zero_only"])  # fmt: skip
    result = _ResultMetric(meta, packed["is_tensor"]).to(trainer.strategy.root_device)
    for field, value in packed["accumulated"].items():
        setattr(result, field, _on(value, trainer.strategy.root_device))
    if not packed["is_tensor"]:
        result.value = trainer.lightning_module.get_submodule(packed["metric_attribute"])
    return result


def _metrics(module: L.LightningModule) -> dict[str, Metric]:
    """The torchmetrics of a module by name; their states are in no state dict unless they ask for it."""
    for part in module.modules():
        if isinstance(part, MetricCollection):
            # Those of one compute group share the state of the first; this makes the others see it.
            list(part.values(copy_state=False))
    return {name: part for name, part in module.named_modules() if isinstance(part, Metric)}


def _on(value: Any, device: torch.device) -> Any:
    if isinstance(value, list):
        return [_on(v, device) for v in value]
    return value.to(device) if isinstance(value, torch.Tensor) else value


def _load_progress(trainer: L.Trainer, state: dict[str, Any]) -> None:
    for name, path in PROGRESS.items():
        _at(trainer.fit_loop.epoch_loop, path).load_state_dict(state["progress"][name])


def _at(root: Any, path: str) -> Any:
    for name in path.split("."):
        root = getattr(root, name)
    return root
