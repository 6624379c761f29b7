"""How this net will run on this machine, measured on it: threads, precision, memory layout, workers.

Each candidate takes a few steps with a copy of the net on a real batch. What is kept is faster, and leaves
the loss after the trial steps where FP32 leaves it. The choices are written into the run's recipe, so that
repeating the run repeats them.
"""

from __future__ import annotations

import copy
import ctypes
import os
import sys
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkiln.data.store import Batch, Store
from torchkiln.models.memory import out_of_memory, release_memory
from torchkiln.recipe.schema import Recipe
from torchkiln.runs import environment
from torchkiln.tasks._base import Task
from torchkiln.training import input_plan
from torchkiln.training.optimization import build_optimizer
from torchkiln.training.seeding import seed_all

SHARE = 0.03
"""Of the estimated run, what deciding may cost,"""
AT_LEAST, AT_MOST = 0.5, 60.0
"""but so many seconds at least and at most."""
TRIAL_STEPS = 6
TRIAL_SECONDS = 3.0
"""After which a trial takes no further step."""
MUST_GAIN = 1.05
"""A candidate must be this much faster than what it replaces; less is noise."""
LOSS_TOLERANCE = 0.05
KEEP_FREED = "keep freed memory"


@dataclass
class Plan:
    """What was decided.

    Args:
        recipe: With every `auto` replaced.
        decisions: As in plan.json.
        seconds: What deciding took.
        kept_fp32: Modules whose outputs stayed FP32 under mixed precision.
    """

    recipe: Recipe
    decisions: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    kept_fp32: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Setting:
    """One way to run a step."""

    device: str
    threads: int
    precision: str = "32"
    channels_last: bool = False


@dataclass(frozen=True)
class Trial:
    """What a setting gave: seconds a step (the median), and the loss of each step."""

    seconds: float
    losses: tuple[float, ...]


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
        self.indices = np.arange(size, dtype=np.int64)
        self._fetch()  # the first one warms caches
        begun = time.perf_counter()
        self.batch = self._fetch()
        self.fetch_seconds = time.perf_counter() - begun
        self.spent = 0.0

    def _fetch(self) -> Batch:
        batch: Batch = self.store.take(self.indices, 0)
        transform = self.task.transform()
        last = max((self.recipe.train.epochs or 1) - 1, 0)  # the last epoch has the full image size
        return transform(batch, self.indices, last) if transform else batch

    def run(self, setting: Setting, steps: int = TRIAL_STEPS) -> Trial:
        """Take trial steps; fewer where they are slow, and with half the samples where they do not fit."""
        while True:
            try:
                return self._steps(setting, steps)
            except Exception as error:
                if not out_of_memory(error) or len(self.indices) == 1:
                    raise
            release_memory()
            self.indices = self.indices[: len(self.indices) // 2]
            self.batch = self._fetch()

    def _steps(self, setting: Setting, steps: int) -> Trial:
        begun = time.perf_counter()
        torch.set_num_threads(setting.threads)
        seed_all(self.recipe.seed, "plan")
        net = prepared_net(copy.deepcopy(self.net).to(setting.device), setting.channels_last).train()
        criterion = copy.deepcopy(self.criterion).to(setting.device)
        optimizer = build_optimizer(net, self.recipe.optimizer)
        batch = {k: v.to(setting.device) if hasattr(v, "to") else v for k, v in self.batch.items()}
        seconds, losses = [], []
        for _ in range(steps):
            step_begun = time.perf_counter()
            with autocast(setting):
                output = self.task.loss(criterion, self.task.forward(net, batch), batch)
            optimizer.zero_grad()
            output.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(output.detach()))  # waits for the device
            seconds.append(time.perf_counter() - step_begun)
            if time.perf_counter() - begun > TRIAL_SECONDS and len(seconds) > 1:
                break
        self.spent += time.perf_counter() - begun
        return Trial(float(np.median(seconds[1:] or seconds)), tuple(losses))


def decide(
    task: Task, net: nn.Module, criterion: nn.Module, recipe: Recipe, store: Store, decisions: list[dict[str, Any]]
) -> Plan:
    """Measure what the recipe leaves open, and fill it in.

    Args:
        task, net, criterion, recipe, store: As for `Trials`.
        decisions: Those made before, which open the plan.
    """
    begun = time.perf_counter()
    train = recipe.train
    device = best_device() if train.device == "auto" else train.device
    plan = Plan(recipe, list(decisions))
    why = "the recipe says so" if train.device != "auto" else f"the fastest kind this machine has: {device}"
    plan.decisions.append({"what": "train.device", "chosen": device, "why": why, "candidates": []})
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    fixed = Setting(device, cores if train.threads == "auto" else train.threads,
                    "32" if train.precision == "auto" else train.precision, train.channels_last is True)  # fmt: skip
    trials = Trials(task, net, criterion, recipe, store)
    chosen, step = _measured(plan, trials, fixed, recipe)
    inputs = input_plan.decide(recipe, input_plan.Measured(
        store, task.transform(), trials.indices, trials.batch, trials.fetch_seconds, step, chosen.threads, device, cores
    ))  # fmt: skip
    plan.decisions += inputs.decisions
    recipe = recipe.model_copy(update={"data": inputs.data})
    plan.recipe = resolve_plan(recipe, chosen, inputs.workers, decisions)
    plan.kept_fp32 = _kept_fp32(trials, chosen)
    plan.seconds = time.perf_counter() - begun
    return plan


def _measured(plan: Plan, trials: Trials, setting: Setting, recipe: Recipe) -> tuple[Setting, float]:
    """Go through the open questions one after the other, each from the best answer to those before."""
    setting, best = _threads(plan, trials, setting, recipe)
    batches = -(-len(trials.store) // (recipe.train.batch_size or 32))
    estimate = best.seconds * batches * (recipe.train.epochs or 1)
    budget = trials.spent + min(max(SHARE * estimate, AT_LEAST), AT_MOST)
    reference = best
    for what, candidate, opened in _questions(setting, recipe, trials.net):
        value, rows = getattr(setting, what), []
        if not opened:
            why = "the recipe says so"
        elif candidate is None:
            why = "nothing else to try here"
        elif trials.spent >= budget:
            why = f"not measured: the run is short, about {estimate:.0f} s"
        else:
            tried = replace(setting, **{what: candidate})
            trial = trials.run(tried)
            rows = [(value, best), (candidate, trial)]
            accepted, why = _is_better(candidate, trial, best, reference)
            setting, best = (tried, trial) if accepted else (setting, best)
        plan.decisions.append(_decision(f"train.{what}", getattr(setting, what), why, rows))
    if setting.device == "cpu":
        best = _allocator(plan, trials, setting, best, trials.spent < budget)
    return setting, best.seconds


def _threads(plan: Plan, trials: Trials, setting: Setting, recipe: Recipe) -> tuple[Setting, Trial]:
    """One thread, or all cores: on a busy machine more threads wait for one another."""
    one = replace(setting, threads=1)
    if recipe.train.threads != "auto" or setting.device != "cpu" or setting.threads == 1:
        trial = trials.run(setting)
        why = "the recipe says so" if recipe.train.threads != "auto" else "nothing else to try here"
        plan.decisions.append(_decision("train.threads", setting.threads, why, []))
        return setting, trial
    single, several = trials.run(one), trials.run(setting)
    accepted, why = _is_better(f"{setting.threads} threads", several, single, single)
    rows = [(1, single), (setting.threads, several)]
    chosen = setting if accepted else one
    plan.decisions.append(_decision("train.threads", chosen.threads, why, rows))
    return chosen, several if accepted else single


def _questions(setting: Setting, recipe: Recipe, net: nn.Module) -> list[tuple[str, Any, bool]]:
    """(field, candidate or None, whether the recipe leaves it open)."""
    train = recipe.train
    convolves = any(isinstance(m, nn.Conv2d) for m in net.modules())
    return [
        ("precision", "bf16" if setting.device != "mps" else None, train.precision == "auto"),
        ("channels_last", True if convolves else None, train.channels_last == "auto"),
    ]


def _is_better(candidate: Any, trial: Trial, best: Trial, reference: Trial) -> tuple[bool, str]:
    """Whether to take the candidate, and why or why not."""
    name = "it" if candidate is True else candidate
    gain = best.seconds / trial.seconds
    last = min(len(trial.losses), len(reference.losses)) - 1  # a slow setting took fewer steps
    off = abs(trial.losses[last] - reference.losses[last]) / max(abs(reference.losses[last]), 0.1)
    if not off <= LOSS_TOLERANCE:
        return False, f"with {name} the loss after the trial steps is off by {100 * off:.0f} %"
    if gain < MUST_GAIN:
        return False, f"with {name} a step is {gain:.2f} times as fast, which does not pay"
    return True, f"with {name} a step is {gain:.2f} times as fast, the loss within {100 * LOSS_TOLERANCE:.0f} % of FP32"


def _allocator(plan: Plan, trials: Trials, setting: Setting, best: Trial, open_: bool) -> Trial:
    """Let glibc keep freed memory: it else returns each large tensor to the system and faults it in anew."""
    if not (open_ and sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt")):
        return best
    keep_freed_memory(True)
    trial = trials.run(setting)
    better, why = _is_better("keeping freed memory", trial, best, best)
    if not better:
        keep_freed_memory(False)
    plan.decisions.append(_decision("allocator", KEEP_FREED if better else "glibc's default", why,
                                    [("glibc's default", best), (KEEP_FREED, trial)]))  # fmt: skip
    return trial if better else best


def keep_freed_memory(on: bool) -> None:
    """Set glibc's M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD (malloc.h), or put its defaults back."""
    mallopt = ctypes.CDLL(None).mallopt
    for option, kept, default in ((-4, 0, 65536), (-1, 2**31 - 1, 128 << 10), (-2, 64 << 20, 128 << 10)):
        mallopt(option, kept if on else default)


def resolve_plan(recipe: Recipe, setting: Setting, workers: int, decisions: list[dict[str, Any]]) -> Recipe:
    """The recipe with the plan's choices in place of every `auto`."""
    data = recipe.data.model_copy(update={"workers": workers, "store": decisions[0]["chosen"]})
    train = recipe.train.model_copy(
        update={"device": setting.device, "threads": setting.threads, "precision": setting.precision,
                "channels_last": setting.channels_last}
    )  # fmt: skip
    return recipe.model_copy(update={"data": data, "train": train})


def unmeasured(recipe: Recipe) -> Recipe:
    """The recipe with every `auto` replaced by what is safe anywhere."""
    train = recipe.train
    device = best_device() if train.device == "auto" else train.device
    threads = torch.get_num_threads() if train.threads == "auto" else train.threads
    precision = "32" if train.precision == "auto" else train.precision
    workers = 0 if recipe.data.workers == "auto" else recipe.data.workers
    setting = Setting(device, threads, precision, train.channels_last is True)
    return resolve_plan(recipe, setting, workers, [{"chosen": recipe.data.store}])


def best_device() -> str:
    """cuda, mps or cpu: the first this machine has."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def available(device: str) -> str:
    """The device a run was trained on, or the best there is where this machine lacks it."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return device if there.get(device, False) else best_device()


def device_name(device: str) -> str:
    """What the device calls itself."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return environment.cpu_model()


def prepared_net(net: nn.Module, channels_last: bool) -> nn.Module:
    """The net with its convolution weights laid out as the plan says."""
    return net.to(memory_format=torch.channels_last) if channels_last else net


def autocast(setting: Setting) -> Any:
    """Mixed precision for a block, or none."""
    dtype = {"bf16": torch.bfloat16, "16": torch.float16}.get(setting.precision)
    return torch.autocast(setting.device, dtype or torch.bfloat16, enabled=dtype is not None)


def _kept_fp32(trials: Trials, setting: Setting) -> list[str]:
    """Kinds of modules that give FP32 although mixed precision is on."""
    if setting.precision == "32":
        return []
    kept: set[str] = set()

    def watch(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.dtype == torch.float32 and not list(module.children()):
            kept.add(type(module).__name__)

    net = copy.deepcopy(trials.net).to(setting.device)
    handles = [m.register_forward_hook(watch) for m in net.modules()]
    batch = {k: v.to(setting.device) if hasattr(v, "to") else v for k, v in trials.batch.items()}
    with torch.no_grad(), autocast(setting):
        trials.task.forward(net, batch)
    for handle in handles:
        handle.remove()
    return sorted(kept)


def _decision(what: str, chosen: Any, why: str, rows: list[tuple[Any, Trial]]) -> dict[str, Any]:
    candidates = [
        {"value": v, "milliseconds": 1e3 * t.seconds, "note": f"loss {t.losses[-1]:.4g} after {len(t.losses)} steps"}
        for v, t in rows
    ]
    return {"what": what, "chosen": chosen, "why": why, "candidates": candidates}
