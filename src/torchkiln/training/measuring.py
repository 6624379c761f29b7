"""The open questions of a plan, and their answers by trial steps."""

from __future__ import annotations

import copy
import os
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from torchkiln.models.memory import release_memory
from torchkiln.recipe.schema import Recipe
from torchkiln.training import compiling
from torchkiln.training.estimates import Extent
from torchkiln.training.optimization import implementations
from torchkiln.training.plan_rows import SAID, decision
from torchkiln.training.settings import KERNELS, Setting, autocast, can_keep_freed_memory
from torchkiln.training.trials import TRIAL_STEPS, Trial, Trials, gain, to_device

MUST_GAIN, MUST_GAIN_EARLY = 1.05, 1.15
"""A candidate must be this much faster than what it replaces, and this much after a trial cut short; less is noise."""
LOSS_TOLERANCE = 0.05
FAULT_SECONDS = 0.5e-6
"""What a page costs that the system maps and clears."""
MOST_SAVED = 0.5
"""Of a step, what compiling is presumed to save at best."""
NOTHING = "nothing else to try here"
FELL_BACK = "the step runs as it is"


@dataclass(frozen=True)
class Question:
    """One decision that is still open, or was taken by the recipe.

    Args:
        what: The recipe's key.
        field: Of the setting.
        candidates: What to try beside the value that is safe anywhere.
        opened: Whether the recipe leaves it to the plan.
        without: Why there is nothing to try, where there is not.
    """

    what: str
    field: str
    candidates: tuple[Any, ...]
    opened: bool
    without: str = NOTHING


def questions(setting: Setting, recipe: Recipe, trials: Trials, cores: int) -> list[Question]:
    """All that steps can be asked, those that save most first."""
    train, device = recipe.train, setting.device
    convolves = any(isinstance(m, nn.Conv2d) for m in trials.net.modules())
    threads = (cores,) if device == "cpu" and cores > 1 else ()
    precisions = {"cuda": ("tf32", "bf16", "16"), "cpu": ("bf16",)}.get(device, ())
    kernels: tuple[str, ...] = ()
    if train.attention == "auto" and device != "mps" and _attends(trials, setting):
        kernels = tuple(KERNELS) if device == "cuda" else ("flash", "math")
    timed = device == "cuda" and convolves and not train.deterministic
    return [
        _allocator(trials, device),
        Question("train.threads", "threads", threads, train.threads == "auto"),
        Question("train.precision", "precision", precisions, train.precision == "auto"),
        Question("train.channels_last", "channels_last", (True,) if convolves else (), train.channels_last == "auto"),
        Question("train.attention", "attention", kernels, train.attention == "auto"),
        Question("train.cudnn_benchmark", "cudnn_benchmark", (True,) if timed else (), train.cudnn_benchmark == "auto"),
    ]


class Measuring:
    """Answers questions one after the other, each from the best answer to those before.

    Args:
        trials: Takes the steps.
        setting: That is safe anywhere; it becomes the best one.
        extent: Of the run.
        begun: When deciding began, by `time.perf_counter`.
        share, least: Of the estimated run, and seconds, that deciding may cost.
    """

    def __init__(
        self, trials: Trials, setting: Setting, extent: Extent, begun: float, share: float, least: float
    ) -> None:
        self.trials, self.setting, self.extent, self.first = trials, setting, extent, setting
        self.decisions: list[dict[str, Any]] = []
        self.compile_seconds = 0.0
        self.best = self.reference = trials.base(setting)
        most = trials.recipe.train.plan_seconds
        estimate = extent.seconds(self.best.seconds)
        budget = min(max(share * estimate, least), most)
        self.until, self.latest = begun + budget, begun + most
        self._too_late = f"not measured: its {budget:.2g} s were over (the run takes about {estimate:,.0f} s)"

    def ask(self, question: Question) -> None:
        """Try a question's candidates; the setting is the better one afterwards."""
        rows: list[dict[str, Any]] = []
        if not question.opened:
            why = SAID
        elif not question.candidates:
            why = question.without
        else:
            why = ""
            for candidate in question.candidates:
                said = self._try(question.field, candidate, rows) if self._in_time(question) else self._too_late
                why = f"{why}; {said}" if why else said
        if question.field == "threads":
            why += _waiting()
        self.decisions.append(decision(question.what, getattr(self.setting, question.field), why, rows))

    def _in_time(self, question: Question | None = None) -> bool:
        """Whether a trial, of five steps at least, ends in time; threads may take more, as they matter most."""
        until = self.latest if question and question.field == "threads" else self.until
        return time.perf_counter() + 5 * self.best.seconds < until

    def _try(self, field: str, candidate: Any, rows: list[dict[str, Any]]) -> str:
        """Time a candidate beside the best so far, and take it if it is better; gives the reason."""
        tried = replace(self.setting, **{field: candidate})
        try:
            best, trial, stepper = self.trials.against(tried, self.until)
        except Exception as error:  # whatever the kernels of this machine make of it
            return self._not_available(candidate, error, rows)
        if not rows:
            rows.append(_row(getattr(self.setting, field), best))
        rows.append(_row(candidate, trial))
        if self.setting.precision == self.first.precision and len(best.losses) > len(self.reference.losses):
            self.reference = best
        accepted, why = is_better(_named(field, candidate), trial, best, self.reference)
        self.best = trial if accepted else best
        if accepted:
            self.setting = tried
            self.trials.take(stepper)
        return why

    def _not_available(self, candidate: Any, error: Exception, rows: list[dict[str, Any]]) -> str:
        release_memory()
        said = " ".join(str(error).split()) or type(error).__name__
        why = f"not available: {said[:200]}"
        rows.append({"value": candidate, "milliseconds": None, "note": why})
        return f"{candidate} is {why}"

    # The optimizer's step, which is timed alone

    def optimizer(self) -> None:
        """Which implementation of the optimizer's step is the quickest."""
        trials, setting = self.trials, self.setting
        possible = implementations(trials.net, trials.recipe.optimizer, setting.precision)
        opened = trials.recipe.optimizer.implementation == "auto"
        rows: list[dict[str, Any]] = []
        if not opened or len(possible) < 2:
            why = NOTHING if opened else SAID
        elif not self._in_time():
            why = self._too_late
        else:
            took = self._optimizer_seconds(possible, rows)
            first = setting.implementation
            quickest = min(took, key=lambda name: took[name])
            saved = took.get(first, took[quickest]) - took[quickest]
            if self.best.seconds / max(self.best.seconds - saved, 1e-9) < MUST_GAIN:
                quickest = first
            self.setting = replace(setting, implementation=quickest)
            why = (f"{quickest} takes {100 * took.get(quickest, 0) / self.best.seconds:.0f} % of a step"
                   + ("; no other saves enough" if quickest == first else ""))  # fmt: skip
        self.decisions.append(decision("optimizer.implementation", self.setting.implementation, why, rows))

    def _optimizer_seconds(self, possible: list[str], rows: list[dict[str, Any]]) -> dict[str, float]:
        took = {}
        for name in possible:
            try:
                took[name] = self.trials.timed(name)
            except Exception as error:
                self._not_available(name, error, rows)
                continue
            note = "the optimizer's step alone, the quickest"
            rows.append({"value": name, "milliseconds": 1e3 * took[name], "note": note})
        return took or {self.setting.implementation: 0.0}

    # Compiling, which costs before it saves

    def compile(self) -> None:
        """Whether, and in which mode, a compiled step pays over the run; what the recipe says is tried all the same."""
        said, rows = self.trials.recipe.train.compile, list[dict[str, Any]]()
        if said is False:
            why = SAID
        elif said != "auto":
            why = self._said(said, rows)
        elif self.setting.device == "mps":
            why = NOTHING
        else:
            modes = ("default", "reduce-overhead") if self.setting.device == "cuda" else ("default",)
            why = "; ".join(self._pays(mode, rows) for mode in modes)
        self.decisions.append(decision("train.compile", self.setting.compile, why, rows))
        if rows:
            compiling.forget()

    def _pays(self, mode: str, rows: list[dict[str, Any]]) -> str:
        """Try a mode, if the run is long enough that it may pay."""
        presumed = compiling.presumed_seconds(self.trials.net)
        hoped = MOST_SAVED * self.extent.seconds(self.best.seconds)
        left = self.until - time.perf_counter()
        if hoped < presumed:
            return f"not tried: compiling takes about {presumed:.0f} s and could save {hoped:.0f} s of this run at most"
        if left < presumed:
            return (f"not tried: compiling takes about {presumed:.0f} s, and {max(left, 0):.0f} s were left of those "
                    f"that the plan of such a run may take, train.plan_seconds at most")  # fmt: skip
        found = self._compiled(mode, rows)
        if isinstance(found, str):
            return found
        best, trial, stepper, row = found
        cost = max(trial.first - trial.seconds, 0.0)
        saved = self.extent.seconds(best.seconds - trial.seconds)
        accepted, why = is_better(mode, trial, best, self.reference)
        said = f"{why}; compiling took {cost:.0f} s and saves {max(saved, 0):.0f} s over the run"
        row["note"] += f"; compiling took {cost:.0f} s"
        if accepted and saved > cost:
            self.setting = replace(self.setting, compile=mode)
            self.best, self.compile_seconds = trial, cost
            self.trials.take(stepper)
        return said

    def _said(self, mode: bool | str, rows: list[dict[str, Any]]) -> str:
        """A mode of the recipe's: it is kept if it works."""
        found = self._compiled(mode, rows)
        if isinstance(found, str):
            return f"{found}; {FELL_BACK}"
        self.best = found[1]
        self.compile_seconds = max(found[1].first - found[1].seconds, 0.0)
        self.setting = replace(self.setting, compile=mode)
        self.trials.take(found[2])
        return SAID

    def _compiled(self, mode: bool | str, rows: list[dict[str, Any]]) -> Any:
        """(incumbent, compiled, its stepper, its row), or why it cannot be had."""
        counted = compiling.Compilations()
        try:
            best, trial, stepper = self.trials.against(replace(self.setting, compile=mode), self.until)
        except Exception as error:  # the compiler's, or the system's where it has none
            return self._not_available(mode, error, rows)
        row = {**_row(mode, trial), "compiled": counted.counted()}
        rows += [_row(False, best), row]
        return best, trial, stepper, row


def is_better(name: str, trial: Trial, best: Trial, reference: Trial) -> tuple[bool, str]:
    """Whether to take the candidate, and why or why not.

    Args:
        name: The candidate, in words.
        trial: What it gave.
        best: What the best so far gave in the same minute.
        reference: What FP32 gave, for the losses.
    """
    times = gain(best, trial)
    last = min(len(trial.losses), len(reference.losses)) - 1  # a slow setting took fewer steps
    off = abs(trial.losses[last] - reference.losses[last]) / max(abs(reference.losses[last]), 0.1)
    if not off <= LOSS_TOLERANCE:
        return False, f"with {name} the loss after the trial steps is off by {100 * off:.0f} %"
    if times < (MUST_GAIN if len(trial.losses) > TRIAL_STEPS else MUST_GAIN_EARLY):
        return False, f"with {name} a step is {times:.2f} times as fast, which does not pay"
    return (
        True,
        f"with {name} a step is {times:.2f} times as fast, the loss within {100 * LOSS_TOLERANCE:.0f} % of FP32",
    )


def kept_fp32(trials: Trials, setting: Setting) -> list[str]:
    """Kinds of modules that give FP32 although mixed precision is on."""
    if setting.precision in ("32", "tf32"):
        return []
    kept: set[str] = set()

    def watch(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.dtype == torch.float32 and not list(module.children()):
            kept.add(type(module).__name__)

    net = copy.deepcopy(trials.net).to(setting.device)
    handles = [m.register_forward_hook(watch) for m in net.modules()]
    with torch.no_grad(), autocast(setting):
        trials.task.forward(net, to_device(trials.part, setting.device))
    for handle in handles:
        handle.remove()
    return sorted(kept)


def _allocator(trials: Trials, device: str) -> Question:
    """Worth a trial where the memory that a step asks for anew takes a time that shows."""
    assert trials.incumbent is not None
    step, without = trials.incumbent.trial(), NOTHING
    candidates: tuple[str, ...] = ()
    if device == "cpu" and can_keep_freed_memory():
        costs = step.faults * FAULT_SECONDS > (MUST_GAIN - 1) * step.seconds
        candidates = ("keep",) if costs else ()
        without = f"a step has the system map {step.faults:,.0f} pages, which costs next to nothing"
    return Question("train.allocator", "allocator", candidates, trials.recipe.train.allocator == "auto", without)


class _Attention(TorchFunctionMode):
    """Notes whether scaled dot products are asked for."""

    seen: bool = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen = self.seen or func in (F.scaled_dot_product_attention, F.multi_head_attention_forward)
        return func(*args, **(kwargs or {}))


def _attends(trials: Trials, setting: Setting) -> bool:
    """Whether a forward pass computes scaled dot products."""
    net = copy.deepcopy(trials.net).to(setting.device)
    with torch.no_grad(), _Attention() as mode:
        trials.task.forward(net, to_device(trials.part, setting.device))
    return bool(mode.seen)


def _waiting() -> str:
    """How threads wait for one another, which was settled when torch was loaded."""
    policy, spins = os.environ.get("OMP_WAIT_POLICY"), os.environ.get("GOMP_SPINCOUNT")
    if policy or spins:
        return f"; waiting threads: {f'OMP_WAIT_POLICY={policy}' if policy else f'GOMP_SPINCOUNT={spins}'}"
    return "; waiting threads spin, since torch was imported before torchkiln could say GOMP_SPINCOUNT=1000"


def _named(field: str, candidate: Any) -> str:
    return {"threads": f"{candidate} threads", "allocator": "freed memory kept"}.get(
        field, "it" if candidate is True else str(candidate))  # fmt: skip


def _row(value: Any, trial: Trial) -> dict[str, Any]:
    note = f"loss {trial.losses[-1]:.4g} after {len(trial.losses)} steps"
    return {"value": value, "milliseconds": 1e3 * trial.seconds, "note": note}
