"""A look at a short stretch of a training from inside Lightning's loop: where the time of a step goes.

Lightning tells its profiler when each of its parts and hooks begins and ends. Each moment of a step is put down to
the innermost of them.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.profilers import Profiler

from torchkiln.errors import RunFailed
from torchkiln.training.operations import Operation, Operations

WARM = 3
"""Steps before anything is measured: first ones allocate, compile and fill caches."""
ENOUGH_STEPS, ENOUGH_SECONDS = 10, 3.0
"""So many steps and seconds are timed at least,"""
MOST_STEPS, MOST_SECONDS = 300, 20.0
"""and at most, but never fewer than three."""
EVERY = 2
"""On the CPU optimizer steps that are timed for each that has its operations noted: both see the same machine."""
TRACED = 3

NEXT = ".train_dataloader_next"
STEP = "run_training_batch"
LOOP = "Lightning's loop"
_ENDS = ("on_validation_model_zero_grad", "on_validation_start", "on_train_epoch_end")
"""Hooks by which the last step of an epoch is over."""
_INPUT = ("train_dataloader_next", "batch_to_device", "transfer_batch_to_device", "on_before_batch_transfer",
          "on_after_batch_transfer")  # fmt: skip
_NET = ("training_step", "backward", "optimizer_step", "configure_gradient_clipping", "optimizer_zero_grad")


class Enough(RunFailed):
    """The stretch is over; raised to leave the loop without a validation or a checkpoint."""


class Probe(Profiler):
    """Times steps and notes the operations of some, then traces a few; then ends the training.

    Args:
        module: What is trained.
        window: Batches that make an optimizer step.
        trace: Where to write a trace of some steps, .json or .json.gz; None writes none.
    """

    def __init__(self, module: L.LightningModule, *, window: int = 1, trace: Path | None = None) -> None:
        super().__init__()
        self.module, self.window, self.trace = module, window, trace
        self.seconds: dict[str, float] = defaultdict(float)
        """By part of the timed steps, all of them together."""
        self.calls = 0
        """Of this probe in those steps."""
        self.steps: Counter[str] = Counter()
        """How many were taken, by what was done with them: warm, timed, watched, traced."""
        self.made: list[list[Operation]] = []
        """Operations of each watched optimizer step."""
        self._net: list[float] = []
        self.device_seconds = 0.0
        """What a GPU worked in the traced steps, all of them together."""
        self.own: list[str] = []
        """Callbacks of the person's."""
        self._phase = "warm"
        self._open = False
        self._parts: list[str] = []
        self._step: dict[str, float] = defaultdict(float)
        self._step_calls = 0
        self._mark = self._begun = 0.0
        self._operations: Operations | None = None
        self._tracer: Any = None
        self._spans: list[Any] = []

    def parts(self) -> dict[str, float]:
        """Seconds of a timed step for its input, for the net, and between them.

        Waiting for input comes now and then, so it is the mean. The net does the same each time, so it is the median,
        which a neighbour on the machine does not move.
        """
        found = {"input": 0.0, "net": 0.0, "between": 0.0}
        for action, seconds in self.seconds.items():
            found[part_of(action)] += seconds / self.steps["timed"]
        return {**found, "net": statistics.median(self._net) / self.window}

    def between(self) -> dict[str, float]:
        """Mean seconds of a timed step by whatever is neither input nor net, most first."""
        found: dict[str, float] = defaultdict(float)
        for action, seconds in self.seconds.items():
            if part_of(action) == "between":
                found[readable(action)] += seconds / self.steps["timed"]
        return dict(sorted(found.items(), key=lambda one: -one[1]))

    def costliest_of_the_persons(self) -> tuple[str, float] | None:
        """The hook or log of the person's own that takes most of what is between; None where others take more."""
        theirs = {readable(action) for action in self.seconds if self._is_theirs(action)}
        own = {name: seconds for name, seconds in self.between().items() if name in theirs}
        if not own or sum(own.values()) < self.parts()["between"] / 2:
            return None
        return next(iter(own.items()))

    def _is_theirs(self, action: str) -> bool:
        kind, _, name = action.rpartition("]")
        if kind == "[Callback":
            return name.rpartition(".")[0] in self.own
        of_module = name.partition(".")[0] == type(self.module).__name__
        return of_module and not _is_known(type(self.module)) and part_of(action) == "between"

    # What Lightning calls

    def start(self, action_name: str) -> None:
        self._put_down()
        self._parts.append(action_name)
        if action_name.endswith(NEXT):
            self._turn()
        elif self._open and action_name.endswith(_ENDS):
            self._close()
        if self._tracer:
            self._spans.append(torch.profiler.record_function(action_name).__enter__())  # type: ignore[no-untyped-call]
        if action_name == STEP and self._phase == "watched":
            self._operations = Operations()
            self._operations.__enter__()  # type: ignore[no-untyped-call]

    def stop(self, action_name: str) -> None:
        if action_name == STEP and self._operations:
            self._operations.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            if self.steps["watched"] % self.window == 0:
                self.made.append([])
            self.made[-1] += self._operations.made
            self._operations = None
        if self._spans:
            self._spans.pop().__exit__(None, None, None)
        self._put_down()
        if self._parts:
            self._parts.pop()

    # Where the time goes

    def _put_down(self) -> None:
        now = time.perf_counter()
        if self._open:
            self._step[self._parts[-1] if self._parts else ""] += now - self._mark
            self._step_calls += 1
        self._mark = now

    def _turn(self) -> None:
        """The next batch is asked for: the step before is over, and the next begins."""
        if self._open:
            self._close()
        phase = self._next_phase()
        if self._phase == "warm" and phase != "warm":
            _synchronize(self.module)
            self._begun = time.perf_counter()
        if phase == "traced" and self._tracer is None:
            self._tracer = _tracer().__enter__()
        self._phase, self._open, self._step_calls = phase, True, 0
        if phase == "over":
            self._end()
        self._step.clear()
        self._mark = time.perf_counter()

    def _close(self) -> None:
        """A step is over; where the loader had no batch for it, it was none."""
        self._open = False
        if STEP not in self._step:
            return
        self.steps[self._phase] += 1
        if self._phase == "timed":
            if (self.steps["timed"] - 1) % self.window == 0:
                self._net.append(0.0)
            for part, seconds in self._step.items():
                self.seconds[part] += seconds
                self._net[-1] += seconds if part_of(part) == "net" else 0.0
            self.calls += self._step_calls

    def _next_phase(self) -> str:
        """What is done with the step that comes: warm, timed, watched, traced; or over."""
        if self.steps["warm"] < WARM:
            return "warm"
        timed, watched = (self.steps[phase] // self.window for phase in ("timed", "watched"))
        if any(self.steps[phase] % self.window for phase in ("timed", "watched")):
            return self._phase
        on_gpu = self.module.device.type == "cuda"  # which only shows its pace when left alone
        if not self._is_timed():
            return "watched" if not on_gpu and timed >= EVERY * (watched + 1) else "timed"
        if not watched:
            return "watched"
        return "traced" if (self.trace or on_gpu) and self.steps["traced"] < TRACED else "over"

    def _is_timed(self) -> bool:
        timed, spent = self.steps["timed"], time.perf_counter() - self._begun
        enough = timed >= ENOUGH_STEPS and spent >= ENOUGH_SECONDS
        return bool(timed) and (enough or timed >= MOST_STEPS or (timed >= 3 and spent >= MOST_SECONDS))

    def _end(self) -> None:
        self.own = [c.state_key for c in self.module.trainer.callbacks if not _is_known(type(c))]  # type: ignore[attr-defined]
        while self._spans:
            self._spans.pop().__exit__(None, None, None)
        if self._tracer:
            self._tracer.__exit__(None, None, None)
            self.device_seconds = sum(e.self_device_time_total for e in self._tracer.key_averages()) / 1e6
            if self.trace:
                self._tracer.export_chrome_trace(str(self.trace))
        raise Enough("the stretch is over")


def part_of(action: str) -> str:
    """input, net or between: what a part of Lightning's loop is there for."""
    hook = action.rpartition(".")[2]
    if hook in _INPUT:
        return "input"
    return "net" if hook in _NET and not action.startswith("[Callback]") else "between"


def readable(action: str) -> str:
    """`[Callback]Recorder{...}.on_train_end` as `Recorder.on_train_end`; what has no name is Lightning's loop."""
    name, _, hook = action.rpartition("]")[2].rpartition(".")
    if not name or "scheduler" in hook:
        return LOOP
    return f"{name.partition('{')[0]}.{hook}"


def cost_of_probing() -> float:
    """Seconds that one call of the probe adds to a step; the best of a few rounds."""
    probe = Probe(L.LightningModule())
    probe._open, best = True, float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(500):
            probe.start("a")
            probe.stop("a")
        best = min(best, (time.perf_counter() - begun) / 1000)
    return best


@contextlib.contextmanager
def watched_log(module: L.LightningModule, probe: Probe) -> Iterator[None]:
    """Put what a module's own calls of `self.log` take down to themselves, and not to the step they stand in."""
    log = module.log

    def watched(*args: Any, **kwargs: Any) -> None:
        with probe.profile(f"{type(module).__name__}.log"):
            log(*args, **kwargs)

    module.log = watched  # type: ignore[method-assign]
    try:
        yield
    finally:
        del module.log


def _is_known(made: type) -> bool:
    """Whether a class is Lightning's or ours."""
    return made.__module__.partition(".")[0] in ("lightning", "pytorch_lightning", "torchkiln")


def _tracer() -> Any:
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it tells of a GPU that is not there
    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    return torch.profiler.profile(activities=activities, record_shapes=True)


def _synchronize(module: L.LightningModule) -> None:
    if module.device.type == "cuda":
        torch.cuda.synchronize()
