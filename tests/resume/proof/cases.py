"""The ways to train that are proved: what is trained, on what, by which settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch

import torchkiln
from proof import faults, seen
from proof import modules as M

Make = Callable[[], dict[str, Any]]
ALWAYS = {
    "train.epochs": 3, "train.plan_seconds": 0,
    "train.batch_size": 4, "train.threads": 1, "train.precision": "32", "train.device": "cpu",
    "train.channels_last": False, "data.workers": 0, "train.checkpoint_every": 1, "train.guard": False,
}  # fmt: skip
"""Guard draws no random number and changes nothing: one case has it on, as is the default; the others end sooner."""


def own_net(samples: int = 39) -> dict[str, Any]:
    """Ten batches an epoch, the last of three; augmentation, dropout and batch norm."""
    return {"model": M.net(), "loss": "cross_entropy",
            "data": (M.Noisy(M.blobs(samples, 0)), M.blobs(21, 1), M.blobs(20, 2))}  # fmt: skip


def module_of(kind: Callable[[], Any], samples: int = 39) -> Make:
    return lambda: {"model": kind(), "data": (M.Noisy(M.blobs(samples, 0)), M.blobs(21, 1), M.blobs(20, 2))}


THREE_EPOCHS = seen.epochs(3, 3)


@dataclass(frozen=True)
class Case:
    """One way to train.

    Args:
        settings: Of the recipe, beyond `ALWAYS`.
        make: Gives what `torchkiln.fit` takes from Python; the folder of data for a recipe is made by `folder`.
        folder: Makes the data that the recipe names, once.
        callbacks: Those that a life is given before all others, by its run directory: what goes wrong in it.
        shows: Whether the run that was never killed did what the case is for.
        every_stage: It ends before its epochs do, which a life that begins at its end must know: killed at each event
            between the stages too.
        stride: Between two of the events at which it is killed in an ordinary test run.
        replays: The run goes back to a checkpoint by itself, so how often it saves changes what happens in it.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    make: Make = own_net
    folder: Callable[[Path], Path] | None = None
    callbacks: Callable[[Path], list[L.Callback]] = lambda _: []
    shows: seen.Seen = THREE_EPOCHS
    stride: int = 37
    every_stage: bool = False
    replays: bool = False


MID_EPOCH = {"train.validate_every": 0.43, "scheduler.name": "plateau", "scheduler.patience": 0, "optimizer.lr": 0.3,
             "train.early_stopping": {"patience": 20}}  # fmt: skip
"""Two validations an epoch of seven batches, none of them at its end."""

PICTURES = {"train.batch_size": 5, "optimizer.name": "adamw", "train.ema": None}

CASES: dict[str, Case] = {
    # Every event of these three is killed at in every test run; short, so that it stays affordable.
    "mid-epoch validation, plateau, early stopping": Case(
        MID_EPOCH, lambda: own_net(27), shows=seen.every(seen.validations(6), seen.rate_falls)),
    "accumulation 3 over 10, validation inside a window": Case(
        {"train.accumulate": 3, "train.validate_every": 0.4, "train.epochs": 2},
        shows=seen.every(seen.validations(4), seen.steps(8))),
    "own module: torchmetrics and self.log": Case(
        {"train.validate_every": 0.5, "train.epochs": 2}, module_of(M.Logging, 23), shows=seen.validations(4)),
    # These by a stride.
    "plain": Case({"train.guard": True}),
    "early stopping that fires, min_epochs": Case(
        {"optimizer.lr": 0.5, "train.epochs": 8, "train.early_stopping": {"patience": 1, "min_epochs": 3}},
        shows=seen.epochs(3, 7), every_stage=True),
    "early stopping inside an epoch": Case(
        {"optimizer.lr": 0.5, "train.epochs": 8, "train.validate_every": 0.2, "train.early_stopping": {"patience": 2}},
        shows=seen.epochs(1, 7)),
    "one_cycle": Case({"scheduler.name": "one_cycle"}, shows=seen.rate_falls),
    "warm-up and cosine": Case({"scheduler.name": "cosine", "scheduler.warmup": 0.3}, shows=seen.rate_falls),
    "ema": Case({"train.ema": 0.9}, shows=seen.in_state('"average"')),
    "ema, accumulation, clipping": Case(
        {"train.ema": 0.9, "train.accumulate": 3, "train.clip": {"norm": 0.5}}, shows=seen.steps(12)),
    "swa": Case({"train.swa": 0.5}, shows=seen.in_state('"average"')),
    "swa, validation inside the epoch": Case(
        {"train.swa": 0.3, "train.validate_every": 0.4},
        shows=seen.every(seen.in_state('"average"'), seen.validations(6))),
    "fp16 with a scaler that skips": Case(
        {"train.precision": "16"}, lambda: {**own_net(), "loss": M.large_loss}, shows=seen.scale_fell),
    "bf16": Case({"train.precision": "bf16"}),
    "17 steps, inside an epoch": Case({"train.steps": 17}, shows=seen.steps(17)),
    "20 steps, an epoch's end": Case({"train.steps": 20}, shows=seen.steps(20)),
    "time budget": Case(
        {"train.max_time": "1h"}, callbacks=faults.time_is_up_at(13),
        shows=seen.every(seen.steps(14), seen.decided("budget")), every_stage=True),
    "validation every second epoch": Case(
        {"train.validate_every": 2, "train.epochs": 4}, shows=seen.validations(2)),
    "validation within the first epoch": Case(
        {"train.early_looks": True, "train.batch_size": 2, "train.epochs": 2}, lambda: own_net(207),
        shows=seen.validations(5), stride=89),
    "validation by total batches": Case({"train.validate_batches": 7}, shows=seen.validations(4)),
    "limited batches": Case({"train.limit_batches": 7, "train.accumulate": 2}, shows=seen.steps(12)),
    "frozen, then unfrozen": Case({"model.freeze": "0", "model.unfreeze": [{"epoch": 1, "match": "0.*"}]}),
    "muon": Case({"optimizer.name": "muon", "optimizer.lr": 0.05}),
    "micro-batch halved": Case(
        {"train.batch_size": 8}, lambda: {**own_net(), "model": M.Hungry()}, shows=seen.decided("memory"),
        replays=True),
    "a batch that is not finite": Case(
        {"train.not_finite": "skip"},
        lambda: {**own_net(), "data": (M.Poisoned(M.blobs(39, 0)), M.blobs(21, 1), M.blobs(20, 2))},
        shows=seen.decided("finite"), replays=True),
    "channels_last, fused adamw": Case(
        {"train.channels_last": True, "optimizer.name": "adamw"},
        lambda: {"model": M.conv_net(), "loss": "cross_entropy",
                 "data": (M.pictures(39, 0), M.pictures(21, 1), M.pictures(20, 2))},
        shows=seen.in_state(r'\["fused", true\]')),
    "two workers": Case({"data.workers": 2, "train.checkpoint_every": 2}, stride=89),
    "own module: plateau per step": Case({}, module_of(M.StepPlateau), shows=seen.rate_falls),
    "own module: plateau on the train loss": Case({}, module_of(M.EpochPlateau), shows=seen.rate_falls),
    "own module: manual optimization": Case({}, module_of(M.Manual)),
    "own module: iterable data": Case(
        {}, lambda: {"model": M.Logging(), "data": (M.Stream(), M.blobs(21, 1), M.blobs(20, 2))}),
    "compile": Case({"train.compile": True}, stride=10**6),
    "images in memory": Case({**PICTURES, "data.store": "memory"}, folder=faults.dots, stride=89),
    "images from the cache": Case({**PICTURES, "data.store": "cache"}, folder=faults.dots, stride=89),
    "images streamed": Case({**PICTURES, "data.store": "stream"}, folder=faults.dots, stride=89),
}  # fmt: skip
EVERY_EVENT = tuple(CASES)[:3]


def fit(case: Case, run: Path, resume: bool, settings: dict[str, Any]) -> None:
    """Begin the case's run, or go on with it."""
    torch.manual_seed(0)
    given = case.make() if case.folder is None else {}
    if resume:
        torchkiln.fit(resume=run, **given)
        return
    wanted = {**ALWAYS, **case.settings, **settings}
    if case.folder is not None:
        given = {"recipe": case.folder(run.parent)}
    torchkiln.fit(out=run, overrides=wanted, overwrite=True, **given)
