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
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.profilers import Profiler
from torch import Tensor, nn
from torch.utils.data import DataLoader

from torchkiln.data.order import TrainOrder
from torchkiln.data.replayed import Replayed
from torchkiln.data.workers import restart
from torchkiln.errors import RunError
from torchkiln.models.memory import release_memory
from torchkiln.recipe.schema import Recipe
from torchkiln.recipe.training import Train, seconds
from torchkiln.runs import checkpoints
from torchkiln.runs.decisions import Decision, Decisions
from torchkiln.runs.directory import RunDirectory
from torchkiln.runs.progress import Progress
from torchkiln.training import settings, state_files
from torchkiln.training.averaging import average_of
from torchkiln.training.early_looks import EarlyLooks
from torchkiln.training.finite import FiniteWatch
from torchkiln.training.module import KilnModule
from torchkiln.training.processes import ElasticStrategy
from torchkiln.training.recorder import Recorder, last_step
from torchkiln.training.recovery import At, Recovery
from torchkiln.training.run_state import OURS, RunStateIO, go_back
from torchkiln.training.safe_point import SafePoint, Saving
from torchkiln.training.schedule import write_schedule
from torchkiln.training.signals import Stopped
from torchkiln.training.spared import LeanTrainer

PRECISION = {"32": "32-true", "tf32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed", "auto": "32-true"}


@dataclass
class Job:
    """What is trained, on what.

    Args:
        module: Ours, or the person's own LightningModule.
        train: Training batches.
        val: Validation batches, or None.
        order: The order behind `train`, which a resume sets to its place.
        samples: Training samples an epoch.
        monitor: The metric that says which epoch is best; None: the last is.
        higher_is_better: Its direction.
    """

    module: L.LightningModule
    train: Any
    val: DataLoader[Any] | Replayed | None
    order: TrainOrder | Replayed | None
    samples: int
    monitor: str | None
    higher_is_better: bool

    @property
    def net(self) -> nn.Module:
        """What the best weights are of."""
        return self.module.net if isinstance(self.module, KilnModule) else self.module


def fit(
    job: Job, recipe: Recipe, run: RunDirectory, progress: Progress, resume: bool = False,
    profiler: Profiler | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train, and leave the best weights on disk; `load_best` brings them back.

    A life that ends from what can be helped, such as a lack of memory, is followed by another in this process,
    from the newest checkpoint.

    Args:
        job: What to train.
        recipe: Resolved.
        run: Where to write.
        progress: Who shows it.
        resume: Go on from the newest checkpoint that is whole.
        profiler: Is told by Lightning when each part of its loop begins and ends.

    Returns:
        `value`, `epoch` and `step` of the best validation.

    Raises:
        RunFailed: Training stopped before its end; the run can be resumed.
    """
    decisions = Decisions(run.path, writes=_is_first_process())
    recovery = Recovery(
        decisions, batch_size=recipe.train.batch_size or 1, skip=recipe.train.not_finite == "skip",
        loaders=[x for x in (job.train, job.val) if x is not None],
        can_split=isinstance(job.module, KilnModule) and recipe.train.exact == "same",
    )  # fmt: skip
    _begin_in_parts(decisions, job, recipe)
    while True:
        life = Life(job, recipe, run, progress, decisions, closely=recovery.closely, profiler=profiler)
        try:
            return life.run_through(resume)
        except Exception as error:
            if recipe.train.devices > 1 or isinstance(error, Stopped):
                raise
            said = recovery.recover(error, life.at)
            run.event("recovery", said, "warn", step=life.at.step, epoch=life.at.epoch)
            progress.message(said, "warn")
        release_memory()  # here, where no traceback holds on to it any more
        resume = True


def _begin_in_parts(decisions: Decisions, job: Job, recipe: Recipe) -> None:
    """Compute each batch in parts from the first step on, where the plan found that it does not fit at once."""
    batch, micro = recipe.train.batch_size or 1, recipe.train.micro_batch
    if not isinstance(micro, int) or micro >= batch or not isinstance(job.module, KilnModule) or job.module.shards:
        return
    count = -(-batch // micro)
    text = f"as planned, a batch of {batch} is computed in {count} parts"
    decisions.add(Decision("parts", 0, text, value=count))


class Life:
    """One go at a fit: from its start or a checkpoint to its end, or to what ends it early.

    Args:
        job, recipe, run, progress: As for `fit`.
        decisions: Of the run so far.
        profiler: As for `fit`.
        closely: Look at every batch and gradient for one that is not finite.
    """

    def __init__(
        self, job: Job, recipe: Recipe, run: RunDirectory, progress: Progress, decisions: Decisions, *, closely: bool,
        profiler: Profiler | None = None,
    ) -> None:  # fmt: skip
        self.profiler = profiler
        self.job, self.recipe, self.run, self.progress, self.decisions = job, recipe, run, progress, decisions
        self.watch = FiniteWatch(closely)
        self.io = RunStateIO(run, recipe.train.keep_every)
        self.average = average_of(job.net, recipe.train)
        self.recorder = Recorder(
            run, progress, self.average.weights if self.average else job.net.state_dict, monitor=job.monitor,
            higher_is_better=job.higher_is_better, samples=job.samples, writes=decisions.writes,
        )  # fmt: skip
        self.point: SafePoint | None = None

    @property
    def at(self) -> At:
        """The last step that began."""
        return self.point.at if self.point else At()

    def run_through(self, resume: bool) -> dict[str, Any]:
        """Train to the end; gives the best validation.

        Args:
            resume: Begin at the newest checkpoint.
        """
        reached = last_step(self.run)
        back = go_back(self.run, self.decisions.writes) if resume else None
        state = back[1][OURS] if back else None
        if state is not None:
            self.io.loaded = back
            self.recorder.restore(state["recorder"])
            self.progress.message(_going_on(state, reached, self.job))
        self.point = self._safe_point(state)
        if isinstance(self.job.module, KilnModule):
            self.job.module.decisions = self.decisions
            if left_out := self.decisions.skipped_samples():
                self.job.train.dataset.store.leave_out(left_out)
                restart(self.job.train)  # workers know the store as it was when they began
        with quiet():
            trainer = build_trainer(self.recipe, self._callbacks(self.point), self.io, self.profiler)
            write_schedule(self.job.module, self.job.order, self.recipe, self.run)
            try:
                trainer.fit(self.job.module, self.job.train, self.job.val, ckpt_path=str(back[0]) if back else None)
                if trainer.interrupted:
                    raise KeyboardInterrupt
                self._finish(trainer, self.point)
            finally:
                self.io.finish()
        return self.recorder.best

    def _safe_point(self, state: dict[str, Any] | None) -> SafePoint:
        train = self.recipe.train
        saving = Saving(
            every=None if train.checkpoint_every == "auto" else train.checkpoint_every,
            budget=seconds(train.max_time) if train.max_time else None, before=self.watch.before_save,
        )  # fmt: skip
        return SafePoint(self.run, self.recorder, self.io, self.decisions, order=self.job.order,
                         seed=self.recipe.seed, saving=saving, resume=state)  # fmt: skip

    def _callbacks(self, point: SafePoint) -> list[L.Callback]:
        average = [self.average] if self.average else []
        looks = [EarlyLooks()] if self.recipe.train.early_looks and self.job.val is not None else []
        return [point, self.watch, *average, *looks, *_stopping(self.job, self.recipe), self.recorder]

    def _finish(self, trainer: L.Trainer, point: SafePoint) -> None:
        """Save the end as a checkpoint, so that model, optimizer and schedulers can be had from it."""
        self.io.wait()
        self.recorder.forget_lost()
        self.recorder.on_train_end(trainer, self.job.module)  # a life that had no step left to take did not come by it
        point.save(trainer, 0)
        self.io.wait()
        if trainer.should_stop and self.decisions.stop_at() is None and self.recorder.writes:
            best = self.recorder.best
            text = f"early stopping: {best.get('metric')} was best in epoch {best.get('epoch')}"
            self.run.event("decision", text, step=trainer.global_step, epoch=trainer.current_epoch)


def build_trainer(
    recipe: Recipe, callbacks: list[L.Callback], io: RunStateIO | None = None, profiler: Profiler | None = None
) -> L.Trainer:
    """Lightning's Trainer with the defaults that are wrong for us turned off.

    No sampler is replaced in silence, nothing is logged or checkpointed by step but by us, no validation
    runs before training.
    """
    train = recipe.train
    clip = train.clip.norm or train.clip.value
    strategy: Any = "auto"
    if train.devices > 1:
        strategy = "ddp_find_unused_parameters_true" if recipe.model.freeze else "ddp"
        strategy = ElasticStrategy() if train.exact == "elastic" else strategy
    plugins: list[Any] = [io] if io else []
    half = train.precision == "16" and train.device == "cpu"
    if half:  # Lightning takes bf16 instead without a word
        plugins.append(MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu")))
    return LeanTrainer(
        accelerator={"cuda": "gpu"}.get(train.device, train.device),
        devices=train.devices,
        strategy=strategy,
        precision=None if half else PRECISION[train.precision],
        max_epochs=train.epochs or -1,
        max_steps=train.steps or -1,
        min_epochs=train.early_stopping.min_epochs if train.early_stopping else None,
        accumulate_grad_batches=train.accumulate,
        gradient_clip_val=clip,
        gradient_clip_algorithm="value" if train.clip.value else "norm",
        **_validation(train),
        limit_train_batches=train.limit_batches,
        deterministic=True if train.deterministic else None,
        benchmark=train.cudnn_benchmark is True and not train.deterministic,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=callbacks,
        plugins=plugins,
        profiler=profiler,
        logger=False,
        enable_checkpointing=io is not None,  # else Lightning would write some of its own, to the current folder
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
    with settings.process(settings.of(recipe)), quiet():
        trainer = build_trainer(single, [])
        run = trainer.test if has_test and is_test else trainer.validate
        return {name: float(value) for name, value in run(module, batches, verbose=False)[0].items()}


def load_best(net: nn.Module, run: RunDirectory) -> Path:
    """Load the best weights of a run into `net`.

    Raises:
        RunError: There are none that are whole.
    """
    ended = run.read_json("best.json", {}).get("step")
    if ended is None:
        folder = checkpoints.newest(run.path / "checkpoints", checkpoints.BEST)
    else:  # and none before them in their place
        folder = checkpoints.named(run.path / "checkpoints", checkpoints.BEST, ended)
        checkpoints.verify(folder)
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


def _stopping(job: Job, recipe: Recipe) -> list[L.Callback]:
    stopping = recipe.train.early_stopping
    if stopping is None or job.monitor is None or job.val is None:
        return []
    return [
        EarlyStopping(job.monitor, min_delta=stopping.min_delta, patience=stopping.patience,
                      mode="max" if job.higher_is_better else "min", check_finite=False)
    ]  # fmt: skip


def _going_on(state: dict[str, Any], reached: int, job: Job) -> str:
    """Where a resume begins, and what of the life before it does again."""
    place, step = state["lightning"], state["step"]
    batches = f" of {len(job.order)}" if isinstance(job.order, TrainOrder) else ""
    text = f"going on from step {step} (epoch {place['epoch']}, batch {place['batch']}{batches})"
    if reached <= step:
        return text
    again = f"step {reached} is" if reached == step + 1 else f"steps {step + 1} to {reached} are"
    return f"{text}; {again} done again"


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
