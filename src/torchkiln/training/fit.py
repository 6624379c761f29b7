"""One training: Lightning's Trainer with what must stand around it."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn
from torch.utils.data import DataLoader

from torchkiln.data.order import TrainOrder
from torchkiln.errors import RunError
from torchkiln.recipe.schema import Recipe
from torchkiln.recipe.training import Train, seconds
from torchkiln.runs import checkpoints
from torchkiln.runs.directory import RunDirectory
from torchkiln.runs.progress import Progress
from torchkiln.training import safe_point, state_files
from torchkiln.training.averaging import WeightAverage
from torchkiln.training.module import KilnModule
from torchkiln.training.optimization import curve
from torchkiln.training.recorder import BEST, Recorder

PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed", "auto": "32-true"}
CURVE_POINTS = 400


@dataclass
class Job:
    """What is trained, on what.

    Args:
        module: Ours, or the person's own LightningModule.
        train: Training batches.
        val: Validation batches, or None.
        order: The order behind `train`; None where it is not ours.
        samples: Training samples an epoch.
        monitor: The metric that says which epoch is best; None: the last is.
        higher_is_better: Its direction.
    """

    module: L.LightningModule
    train: Any
    val: DataLoader[Any] | list[Any] | None
    order: TrainOrder | None
    samples: int
    monitor: str | None
    higher_is_better: bool

    @property
    def net(self) -> nn.Module:
        """What the best weights are of."""
        return self.module.net if isinstance(self.module, KilnModule) else self.module


def fit(job: Job, recipe: Recipe, run: RunDirectory, progress: Progress, resume: bool = False) -> dict[str, Any]:
    """Train, and leave the best weights in `job.net`.

    Args:
        job: What to train.
        recipe: Resolved.
        run: Where to write.
        progress: Who shows it.
        resume: Go on from the newest checkpoint that is whole.

    Returns:
        `value`, `epoch` and `step` of the best validation.

    Raises:
        RunFailed: Training stopped before its end; the run can be resumed.
    """
    state_folder, state = _resume_state(run) if resume else (None, None)
    average = WeightAverage(job.net, recipe.train.ema) if recipe.train.ema else None
    weights = average.weights if average else job.net.state_dict
    writes = _is_first_process()
    recorder = Recorder(run, progress, weights, monitor=job.monitor, higher_is_better=job.higher_is_better,
                        samples=job.samples, writes=writes)  # fmt: skip
    if state is not None:
        recorder.restore(state["recorder"])
    every = recipe.train.checkpoint_every
    point = safe_point.SafePoint(
        run, recorder, order=job.order, seed=recipe.seed, every=None if every == "auto" else every,
        budget=seconds(recipe.train.max_time) if recipe.train.max_time else None,
        only_between_epochs=not isinstance(job.module, KilnModule), resume=state,
    )  # fmt: skip
    with quiet():
        trainer = build_trainer(recipe, [point, *([average] if average else []), *_stopping(job, recipe), recorder])
        _write_schedule(job, recipe, run)
        trainer.fit(job.module, job.train, job.val, ckpt_path=str(state_folder) if state_folder else None)
        if trainer.interrupted:
            raise KeyboardInterrupt
        _finish(trainer, point, recorder, run)
    load_best(job.net, run)
    return recorder.best


def build_trainer(recipe: Recipe, callbacks: list[L.Callback]) -> L.Trainer:
    """Lightning's Trainer with the defaults that are wrong for us turned off.

    No sampler is replaced in silence, nothing is logged or checkpointed by step but by us, no validation
    runs before training.
    """
    train = recipe.train
    clip = train.clip.norm or train.clip.value
    strategy: Any = "auto"
    if train.devices > 1:
        strategy = "ddp_find_unused_parameters_true" if recipe.model.freeze else "ddp"
    return L.Trainer(
        accelerator={"cuda": "gpu"}.get(train.device, train.device),
        devices=train.devices,
        strategy=strategy,
        precision=PRECISION[train.precision],  # type: ignore[arg-type]
        max_epochs=train.epochs or -1,
        max_steps=train.steps or -1,
        min_epochs=train.early_stopping.min_epochs if train.early_stopping else None,
        accumulate_grad_batches=train.accumulate,
        gradient_clip_val=clip,
        gradient_clip_algorithm="value" if train.clip.value else "norm",
        **_validation(train),
        limit_train_batches=train.limit_batches,
        deterministic=True if train.deterministic else None,
        benchmark=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=callbacks,
        plugins=[safe_point.RunStateIO()],
        logger=False,
        enable_checkpointing=True,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _validation(train: Train) -> dict[str, Any]:
    """When Lightning validates."""
    if train.validate_batches:
        return {"val_check_interval": train.validate_batches, "check_val_every_n_epoch": None}
    if train.validate_every < 1:
        return {"val_check_interval": train.validate_every}
    return {"check_val_every_n_epoch": int(train.validate_every)}


def is_own_module(net: nn.Module) -> bool:
    """Whether it is a LightningModule of the person's, with steps of its own."""
    return isinstance(net, L.LightningModule)


def figures_of(module: nn.Module, batches: Any, recipe: Recipe, is_test: bool) -> dict[str, float]:
    """What a LightningModule's own `test_step` logs, or where it has none its `validation_step`; one process.

    Args:
        module: With the weights to be tested.
        batches: As it takes them.
        recipe: Resolved.
        is_test: Whether the batches are of the test split.
    """
    assert isinstance(module, L.LightningModule)
    single = recipe.model_copy(update={"train": recipe.train.model_copy(update={"devices": 1})})
    has_test = type(module).test_step is not L.LightningModule.test_step
    with process_settings(recipe), quiet():
        trainer = build_trainer(single, [])
        run = trainer.test if has_test and is_test else trainer.validate
        return {name: float(value) for name, value in run(module, batches, verbose=False)[0].items()}


def load_best(net: nn.Module, run: RunDirectory) -> Path:
    """Load the best weights of a run into `net`.

    Raises:
        RunError: There are none that are whole.
    """
    folder = checkpoints.newest(run.path / "checkpoints", BEST)
    if folder is None:
        raise RunError(f"{run.path / 'checkpoints'} holds no best weights that are whole; train first")
    load_weights(net, state_files.load_tensors(folder / "weights.safetensors"), folder)
    return folder


def load_weights(net: nn.Module, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Load weights by name, all of them.

    Raises:
        RunError: Names or shapes differ; names the first ones.
    """
    try:
        net.load_state_dict(dict(tensors))
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise RunError(f"{where} holds the weights of another model: {first}") from error


def _resume_state(run: RunDirectory) -> tuple[Path | None, dict[str, Any] | None]:
    """The newest whole checkpoint; files that only grow are cut back to what they were then."""
    folder = run.path / "checkpoints"
    newest = checkpoints.newest(folder, safe_point.PREFIX)
    if newest is None:
        checkpoints.sweep(folder, BEST, after=-1)
        run.truncate({"events.jsonl": (run.path / "events.jsonl").stat().st_size} if run.events() else {})
        return None, None
    state: dict[str, Any] = state_files.load(newest, "state")["torchkiln"]
    run.truncate(state["sizes"])
    checkpoints.sweep(folder, safe_point.PREFIX, after=int(newest.name.rpartition("-")[2]))
    checkpoints.sweep(folder, BEST, after=state["recorder"]["best"].get("step", -1))
    return newest, state


def _stopping(job: Job, recipe: Recipe) -> list[L.Callback]:
    stopping = recipe.train.early_stopping
    if stopping is None or job.monitor is None or job.val is None:
        return []
    return [
        EarlyStopping(job.monitor, min_delta=stopping.min_delta, patience=stopping.patience,
                      mode="max" if job.higher_is_better else "min", check_finite=False)
    ]  # fmt: skip


def _finish(trainer: L.Trainer, point: safe_point.SafePoint, recorder: Recorder, run: RunDirectory) -> None:
    """Save the end as a checkpoint, so that model, optimizer and schedulers can be had from it."""
    point.save(trainer, 0)
    if trainer.should_stop and point.decisions.stop_at is None and recorder.writes:
        best = recorder.best
        run.event("decision", f"early stopping: {best.get('metric')} was best in epoch {best.get('epoch')}",
                  step=trainer.global_step, epoch=trainer.current_epoch)  # fmt: skip


def _write_schedule(job: Job, recipe: Recipe, run: RunDirectory) -> None:
    """The learning rate as planned, where it is a function of the step alone."""
    scheduler = recipe.scheduler
    planned = scheduler.name in (None, "auto", "cosine", "linear", "one_cycle", "constant")
    if not planned or scheduler.class_path or (run.path / "schedule.csv").exists():
        return
    if not isinstance(job.module, KilnModule) or job.order is None:
        return
    steps = planned_steps(recipe, len(job.order))
    at = curve(scheduler, steps)
    rates = [float(group["lr"]) for group in job.module.make_optimizer().param_groups]
    names = ["lr" if i == 0 else f"lr_{i}" for i in range(len(rates))]
    every = max(1, -(-steps // CURVE_POINTS))
    rows = [",".join([str(s), *(repr(lr * at(s)) for lr in rates)]) for s in range(0, steps, every)]
    run.write_text("schedule.csv", "\n".join([",".join(["step", *names]), *rows]) + "\n")


def planned_steps(recipe: Recipe, batches: int) -> int:
    """Optimizer steps of the whole run, if nothing ends it early.

    Args:
        batches: Of one epoch.
    """
    by_epochs = -(-batches // recipe.train.accumulate) * (recipe.train.epochs or 10**9)
    return min(by_epochs, recipe.train.steps or by_epochs)


def _is_first_process() -> bool:
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0) or 0) == 0


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Lightning's notices say what the person did not ask; errors still come through."""
    loggers = [logging.getLogger(n) for n in ("lightning.pytorch", "lightning.fabric")]
    before = [g.level for g in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@contextlib.contextmanager
def process_settings(recipe: Recipe) -> Iterator[None]:
    """Threads and deterministic kernels as the recipe says, put back afterwards."""
    threads = torch.get_num_threads()
    deterministic, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    cudnn = torch.backends.cudnn.deterministic
    if recipe.train.threads != "auto":
        torch.set_num_threads(recipe.train.threads)
    if recipe.train.deterministic:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn, benchmark
