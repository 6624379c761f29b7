"""How batches come to the steps: by how many processes, how far ahead, and from which kind of memory.

None of it touches a bit of what is trained: a batch is a function of (seed, epoch, samples), whoever makes it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
import torch

from torchkiln.data.loader import Transform, loader
from torchkiln.data.order import TrainOrder
from torchkiln.data.store import Batch, Indices, Store
from torchkiln.data.workers import restart
from torchkiln.recipe.schema import Data, Recipe
from torchkiln.training.plan_rows import SAID, decision

PAYS_FROM = 10.0
"""Seconds of making batches in the whole run from which a process for them is worth its start,"""
TRY_FROM = 60.0
"""and from which it is tried beside steps; below, the measured times of both decide."""
LITTLE = 0.2
"""Share of a step below which making its batch is no matter."""
TRIAL_SECONDS = 3.0
MUST_GAIN = 1.05
PREFETCH = 2
"""Batches that each process is ahead."""
AHEAD_SHARE = 0.05
"""Share of the free memory that batches made ahead may take."""


@dataclass(frozen=True)
class Measured:
    """What is known of batches and steps.

    Args:
        store: Training samples.
        transform: What is done to their batches, if anything.
        indices: Samples of a batch, int64.
        batch: That batch.
        fetch: Seconds to make it in this process.
        step: Seconds of a training step.
        threads: Of a step on the CPU.
        device: Where steps run.
        cores: Of this process.
    """

    store: Store
    transform: Transform | None
    indices: Indices
    batch: Batch
    fetch: float
    step: float
    threads: int
    device: str
    cores: int

    @property
    def room(self) -> int:
        """Processes beside the steps that leave each thread a core of its own; those of a loader run one thread."""
        return self.cores - (self.threads if self.device == "cpu" else 1)


@dataclass(frozen=True)
class InputPlan:
    """What was decided: the recipe's `data` with every such `auto` replaced, and rows for plan.json."""

    data: Data
    decisions: list[dict[str, Any]] = field(default_factory=list)


def decide(recipe: Recipe, measured: Measured) -> InputPlan:
    """Fill in `data.workers`, `data.prefetch` and `data.pin`."""
    data, rows = recipe.data, []
    workers, why, candidates = _workers(recipe, measured)
    rows.append(decision("data.workers", workers, why, candidates))
    prefetch, why = _prefetch(data, workers, measured.batch)
    rows.append(decision("data.prefetch", prefetch, why))
    pin, why, candidates = _pin(data, measured)
    rows.append(decision("data.pin", pin, why, candidates))
    return InputPlan(data.model_copy(update={"workers": workers, "prefetch": prefetch, "pin": pin}), rows)


def _workers(recipe: Recipe, m: Measured) -> tuple[int, str, list[dict[str, Any]]]:
    """Processes that make batches, why, and what was measured."""
    batches = -(-len(m.store) // len(m.indices)) * (recipe.train.epochs or 1)
    rows = [_row("fetch a batch", m.fetch), _row("step", m.step)]
    if recipe.data.workers != "auto":
        return recipe.data.workers, SAID, rows
    if not m.store.in_processes:
        return 0, "samples are on the device already", rows
    if m.fetch < LITTLE * m.step or m.fetch * batches < PAYS_FROM:
        return 0, "batches are made in the main process: they cost little beside the steps or in all", rows
    if m.room < 1:
        return 0, f"the {m.cores} cores are at the steps; a further process would take from them", rows
    count = min(m.room, max(1, round(m.fetch / m.step)))
    what = f"{count} process{'es' if count > 1 else ''}"
    if min(m.fetch, m.step) * batches < TRY_FROM:
        return (
            count,
            f"making a batch costs much beside the step; {what} leave{'' if count > 1 else 's'} no core idle",
            rows,
        )
    alone, beside = (_try(m, workers) for workers in (0, count))
    rows += [_row(0, alone), _row(count, beside)]
    gain = alone / beside
    if gain < MUST_GAIN:
        return 0, f"with {what} a batch and its step are {gain:.2f} times as fast, which does not pay", rows
    return count, f"with {what} a batch and its step are {gain:.2f} times as fast", rows


def _try(m: Measured, workers: int) -> float:
    """Seconds a batch and its step take, with so many processes, the first batch left out.

    Steps are stood in for: products of matrices for as long as a step takes, on as many threads; where the steps are on
    another device, waiting.
    """
    count = int(np.clip(TRIAL_SECONDS / (m.fetch + m.step), 4, 50))
    order = TrainOrder(len(m.store), len(m.indices), seed=0, limit=count)
    batches = loader(m.store, order, transform=m.transform, workers=workers)
    step = _busy if m.device == "cpu" else time.sleep
    taken = []
    for _ in batches:
        taken.append(time.perf_counter())
        step(m.step)
    restart(batches)
    return float(np.diff([*taken, time.perf_counter()]).mean()) if len(taken) > 1 else m.fetch + m.step


def _busy(seconds: float) -> None:
    until, matrix = time.perf_counter() + seconds, torch.ones(256, 256)
    while time.perf_counter() < until:
        matrix @ matrix  # only the time it takes is wanted


def _prefetch(data: Data, workers: int, batch: Batch) -> tuple[int, str]:
    """Batches that each process is ahead, and why."""
    if data.prefetch != "auto":
        return data.prefetch, SAID
    if not workers:
        return PREFETCH, "no process makes batches ahead"
    size = sum(t.nbytes for t in batch.values() if isinstance(t, torch.Tensor))
    most = int(psutil.virtual_memory().available * AHEAD_SHARE / max(1, workers * size))
    words = f"{workers * size / 2**20:,.1f} MiB each time round"
    return max(1, min(PREFETCH, most)), f"one in the making and one ready, {words}"


def _pin(data: Data, m: Measured) -> tuple[bool, str, list[dict[str, Any]]]:
    """Whether batches are put where a GPU fetches them by itself, why, and what was measured."""
    if data.pin != "auto":
        return data.pin, SAID, []
    if m.device != "cuda":
        return False, f"training on {m.device} copies no batch to a GPU", []
    if not m.store.in_processes:
        return False, "samples are on the device already", []
    plain, pinned = (_copy_seconds(m, pin) for pin in (False, True))
    rows = [_row(False, plain), _row(True, pinned)]
    return pinned < plain, f"copying a batch takes {plain / max(pinned, 1e-9):.1f} times as long without", rows


def _copy_seconds(m: Measured, pin: bool) -> float:
    """Seconds that a batch takes to the GPU, the least of five."""
    tensors = [t.pin_memory() if pin else t for t in m.batch.values() if isinstance(t, torch.Tensor)]
    seconds = []
    for _ in range(5):
        begun = time.perf_counter()
        for tensor in tensors:
            tensor.to(m.device, non_blocking=pin)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def _row(value: Any, seconds: float) -> dict[str, Any]:
    return {"value": value, "milliseconds": 1e3 * seconds, "note": ""}
