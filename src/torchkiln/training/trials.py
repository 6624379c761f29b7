"""Trial steps of a net on a real batch, candidate and incumbent in turns."""

from __future__ import annotations

import copy
import gc
import resource
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkiln.data.store import Batch, Store
from torchkiln.models.memory import out_of_memory, release_memory
from torchkiln.recipe.schema import Recipe
from torchkiln.tasks._base import Task
from torchkiln.training import parts
from torchkiln.training.compiling import compiled
from torchkiln.training.optimization import build_optimizer
from torchkiln.training.seeding import seed_all
from torchkiln.training.settings import Setting, applied, autocast, prepared_net

TRIAL_STEPS = 6
"""Steps of each of both; twice as many where they are close."""
TRIAL_SECONDS = 3.0
"""After which a trial takes no further step."""
CLOSE = 0.9, 1.25
"""Between these gains noise might decide."""


@dataclass(frozen=True)
class Trial:
    """What a setting gave.

    Args:
        seconds: A step: the median.
        losses: Of each step from the first on.
        least: Seconds of the quickest step; None: `seconds`.
        first: Seconds of the first step, in which a net is compiled.
        faults: Pages that a step has the system map: memory that it was not given back by itself.
    """

    seconds: float
    losses: tuple[float, ...]
    least: float | None = None
    first: float = 0.0
    faults: float = 0.0


@dataclass
class Stepper:
    """A copy of the net that is trained in one way, step by step.

    Args:
        trials: What is trained.
        setting: The way.
    """

    trials: Trials
    setting: Setting
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        trials, setting = self.trials, self.setting
        self.net = prepared_net(copy.deepcopy(trials.net).to(setting.device), setting.channels_last).train()
        self.called = compiled(self.net, setting.compile, trials.any_length) if setting.compile else self.net
        self.criterion = copy.deepcopy(trials.criterion).to(setting.device)
        chosen = trials.recipe.optimizer.model_copy(update={"implementation": setting.implementation})
        self.optimizer = build_optimizer(self.net, chosen, setting.precision)
        self.scaler = torch.amp.GradScaler(setting.device, enabled=setting.precision == "16")
        self.batch = to_device(trials.part, setting.device)

    def step(self) -> None:
        """One step; its seconds and loss are added."""
        seed_all(self.trials.recipe.seed, "plan", len(self.losses))
        with applied(self.setting):
            begun, faults = time.perf_counter(), page_faults()
            self.backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.losses.append(float(self.loss))  # waits for the device
            self.seconds.append(time.perf_counter() - begun)
            self.faults.append(page_faults() - faults)

    def backward(self) -> None:
        """Leave the gradients of the batch, and its loss."""
        task = self.trials.task
        with autocast(self.setting):
            loss = task.loss(self.criterion, task.forward(self.called, self.batch), self.batch)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.loss = loss.detach()

    def trial(self, since: int = 1) -> Trial:
        """What it gave; seconds from step `since` on, the first being a warm-up."""
        seconds, faults = self.seconds[since:] or self.seconds, self.faults[since:] or self.faults
        return Trial(
            float(np.median(seconds)), tuple(self.losses), min(seconds), self.seconds[0], float(np.median(faults))
        )


class Trials:
    """Runs trial steps of a task's net.

    Args:
        task, net, criterion: What is trained; none of them is changed.
        recipe: Resolved but for the plan.
        store: Training samples.
    """

    def __init__(self, task: Task, net: nn.Module, criterion: nn.Module, recipe: Recipe, store: Store) -> None:
        self.task, self.net, self.criterion, self.recipe, self.store = task, net, criterion, recipe, store
        size = min(recipe.train.batch_size or 32, len(store))
        self.any_length = store.lengths is not None
        self.indices = np.arange(size, dtype=np.int64)
        self._fetch()  # the first one warms caches
        begun = time.perf_counter()
        self.batch = self._fetch()
        self.fetch_seconds = time.perf_counter() - begun
        self.part = self.batch
        """What a trial step computes: the batch, or as much of it as fits."""
        self.spent = 0.0
        self.incumbent: Stepper | None = None

    def _fetch(self) -> Batch:
        batch: Batch = self.store.take(self.indices, 0)
        transform = self.task.transform()
        last = max((self.recipe.train.epochs or 1) - 1, 0)  # the last epoch has the full image size
        return transform(batch, self.indices, last) if transform else batch

    def cut(self, samples: int) -> None:
        """Take trial steps with so many samples of the batch."""
        count = len(self.part["index"])
        self.part = parts.split(self.part, [samples, count - samples])[0] if samples < count else self.part

    def base(self, setting: Setting, steps: int = 3) -> Trial:
        """Begin with a setting; where the batch does not fit, with half of it, until it does."""
        begun = time.perf_counter()
        while True:
            try:
                self.incumbent = Stepper(self, setting)
                for _ in range(steps):
                    self.incumbent.step()
                    if time.perf_counter() - begun > TRIAL_SECONDS:
                        break
                break
            except Exception as error:
                samples = len(self.part["index"])
                if not out_of_memory(error) or samples == 1:
                    raise
            self.incumbent = None
            release_memory()
            self.cut(samples // 2)
        self.spent += time.perf_counter() - begun
        return self.incumbent.trial()

    def against(self, setting: Setting, until: float) -> tuple[Trial, Trial, Stepper]:
        """The incumbent and a candidate, a step of each in turns.

        What disturbs the machine meanwhile meets both.

        Args:
            setting: The candidate.
            until: No step begins behind this point of `time.perf_counter`, but for the first three.

        Returns:
            What the incumbent and the candidate gave, and the candidate, to be passed to `take` if it is better.
        """
        assert self.incumbent is not None
        begun, since = time.perf_counter(), len(self.incumbent.seconds)
        try:
            candidate = Stepper(self, setting)
            candidate.step()
            until = min(until, time.perf_counter() + TRIAL_SECONDS)
            for count in range(2 * TRIAL_STEPS):
                self.incumbent.step()
                candidate.step()
                pair = self.incumbent.trial(since), candidate.trial()
                enough = count + 1 >= TRIAL_STEPS and not CLOSE[0] < gain(*pair) < CLOSE[1]
                if enough or (count and time.perf_counter() > until):
                    break
            return *pair, candidate
        finally:
            self.spent += time.perf_counter() - begun

    def take(self, candidate: Stepper) -> None:
        """Make a candidate the incumbent."""
        self.incumbent = candidate
        gc.collect()  # the copy before it

    def timed(self, implementation: str) -> float:
        """Seconds that an optimizer's step alone takes in an implementation: the least of several."""
        assert self.incumbent is not None
        begun = time.perf_counter()
        stepper = Stepper(self, replace(self.incumbent.setting, implementation=implementation, compile=False))
        seconds: list[float] = []
        with applied(stepper.setting):
            stepper.backward()
            while len(seconds) < 3 or (len(seconds) < 2 * TRIAL_STEPS and sum(seconds) < TRIAL_SECONDS / 3):
                before = time.perf_counter()
                stepper.optimizer.step()  # torchkiln: ignore[E106] only its time is wanted
                if stepper.setting.device == "cuda":
                    torch.cuda.synchronize()
                seconds.append(time.perf_counter() - before)
        self.spent += time.perf_counter() - begun
        return min(seconds[1:])


def gain(incumbent: Trial, candidate: Trial) -> float:
    """How many times as fast the candidate is, by the medians or by the quickest steps: whichever says less."""
    quickest = (incumbent.least or incumbent.seconds) / (candidate.least or candidate.seconds)
    return min(incumbent.seconds / candidate.seconds, quickest)


def page_faults() -> int:
    """Of this process so far, that needed no disk."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def to_device(value: Any, device: str) -> Any:
    """A batch on the device, at any depth."""
    if hasattr(value, "to"):
        return value.to(device)
    if isinstance(value, dict):
        return {k: to_device(v, device) for k, v in value.items()}
    if isinstance(value, list | tuple):
        made = [to_device(v, device) for v in value]
        return type(value)(*made) if hasattr(value, "_fields") else type(value)(made)
    return value
