"""How this net will run on this machine, measured on it: a table of decisions.

Each candidate takes a few steps with a copy of the net on a real batch, in turns with the best so far. What is
kept is faster, and leaves the loss after the trial steps where FP32 leaves it. The choices are written into the
run's recipe, so that repeating the run repeats them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from torch import nn

from torchkiln.data.store import Store
from torchkiln.errors import RecipeError
from torchkiln.recipe.schema import Recipe
from torchkiln.runs import environment
from torchkiln.tasks._base import Task
from torchkiln.training import input_plan, memory, plan_cache, settings
from torchkiln.training.devices import best_device
from torchkiln.training.estimates import Estimates, Extent, estimated
from torchkiln.training.measuring import Measuring, kept_fp32, questions
from torchkiln.training.optimization import implementations
from torchkiln.training.plan_rows import SAID, decision
from torchkiln.training.settings import Setting
from torchkiln.training.trials import Trials

SHARE = 0.05
"""Of the estimated run, what deciding may cost,"""
AT_LEAST = 0.5
"""but so many seconds at least, and at most `train.plan_seconds`."""
OFF = "not measured: train.plan_seconds is 0, so this is what is safe anywhere"


@dataclass
class Plan:
    """What was decided.

    Args:
        recipe: With every `auto` replaced.
        decisions: As in plan.json.
        seconds: What deciding took.
        kept_fp32: Modules whose outputs stayed FP32 under mixed precision.
        estimates: Of the run; None where nothing was measured.
        measured: `at`, a date; `load` of the machine then; `cached`: whether by an earlier run. None: nothing was.
    """

    recipe: Recipe
    decisions: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    kept_fp32: list[str] = field(default_factory=list)
    estimates: Estimates | None = None
    measured: dict[str, Any] | None = None

    def written(self) -> dict[str, Any]:
        """The content of plan.json."""
        estimates = vars(self.estimates) if self.estimates else None
        return {"decisions": self.decisions, "seconds": self.seconds, "measured": self.measured,
                "estimates": estimates}  # fmt: skip


def decide(
    task: Task, net: nn.Module, criterion: nn.Module, recipe: Recipe, store: Store, decisions: list[dict[str, Any]],
    anew: bool = False,
) -> Plan:  # fmt: skip
    """Measure what the recipe leaves open, and fill it in.

    Args:
        task, net, criterion, recipe, store: As for `Trials`.
        decisions: Those made before, which open the plan.
        anew: Measure although an earlier run did.
    """
    begun = time.perf_counter()
    plan, setting = Plan(recipe, list(decisions)), safe(recipe, net)
    why = SAID if recipe.train.device != "auto" else f"the fastest kind this machine has: {setting.device}"
    plan.decisions.append(decision("train.device", setting.device, why))
    trials = Trials(task, net, criterion, recipe, store)
    if not recipe.train.plan_seconds:
        return _unmeasured(plan, trials, setting, decisions)
    extent = Extent.of(recipe, len(store))
    part, need = memory.micro_batch(trials, setting)
    entry, cached = _measured(trials, setting, extent, begun, anew)
    plan.measured = {"at": entry["measured_at"], "load": entry["load"], "cached": cached}
    part = _as_it_went(part, entry["samples"], len(trials.indices))
    plan.decisions += [*entry["decisions"], part]
    step = entry["step_seconds"] * -(-len(trials.indices) // (part["chosen"] or len(trials.indices)))
    chosen = Setting(**entry["setting"])
    inputs = input_plan.decide(recipe, input_plan.Measured(
        store, task.transform(), trials.indices, trials.batch, trials.fetch_seconds, step, chosen.threads,
        chosen.device, environment.cores(),
    ))  # fmt: skip
    plan.decisions += inputs.decisions
    recipe = recipe.model_copy(update={"data": inputs.data})
    plan.recipe = resolve_plan(recipe, chosen, decisions, part["chosen"])
    plan.kept_fp32 = entry["kept_fp32"]
    plan.estimates = estimated(
        plan.recipe, extent, replace(need, states=entry["states_bytes"]),
        batch_seconds=step + (0.0 if inputs.data.workers else trials.fetch_seconds),
        compile_seconds=entry["compile_seconds"], samples=entry["samples"],
    )  # fmt: skip
    plan.seconds = time.perf_counter() - begun
    return plan


def safe(recipe: Recipe, net: nn.Module | None = None) -> Setting:
    """What the recipe says, and in place of each `auto` what works anywhere.

    Args:
        recipe: The recipe.
        net: What the optimizer is of, for its implementation.

    Raises:
        RecipeError: The arithmetic is not of the device.
    """
    train = recipe.train
    device = best_device() if train.device == "auto" else train.device
    if train.precision == "tf32" and device != "cuda":
        raise RecipeError(f"train.precision: tf32 is arithmetic of CUDA, and this trains on {device}; take 32 or bf16")
    setting = replace(settings.of(recipe), device=device, compile=False)
    if train.threads == "auto" and device == "cpu" and net is not None and train.plan_seconds:
        setting = replace(setting, threads=1)
    possible = implementations(net, recipe.optimizer, setting.precision) if net else []
    if setting.implementation == "auto" and possible:
        plain = "foreach" if device == "cuda" else "loop"
        setting = replace(setting, implementation="fused" if "fused" in possible else plain)
    return setting


def _measured(
    trials: Trials, setting: Setting, extent: Extent, begun: float, anew: bool
) -> tuple[dict[str, Any], bool]:
    """What trial steps said: those of an earlier run where there are any, else of now; and which of both."""
    name = plan_cache.key(trials, setting.device, extent.batches)
    if not anew and (entry := plan_cache.read(name)) is not None:
        return entry, True
    measuring = Measuring(trials, setting, extent, begun, SHARE, AT_LEAST)
    for question in questions(setting, trials.recipe, trials, environment.cores()):
        measuring.ask(question)
    measuring.optimizer()
    measuring.compile()
    assert trials.incumbent is not None
    entry = {
        "decisions": measuring.decisions, "setting": vars(measuring.setting), "step_seconds": measuring.best.seconds,
        "compile_seconds": measuring.compile_seconds, "kept_fp32": kept_fp32(trials, measuring.setting),
        "states_bytes": memory.states_of(trials.incumbent), "samples": len(trials.part["index"]),
        "measured_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "load": plan_cache.load(),
    }  # fmt: skip
    plan_cache.write(name, entry)
    return entry, False


def _as_it_went(part: dict[str, Any], samples: int, batch: int) -> dict[str, Any]:
    """The decision on parts of a batch, where the trial steps found that less fits than was estimated."""
    if samples >= (part["chosen"] or batch):
        return part
    return {**part, "chosen": samples, "why": f"a step on more of the {batch} samples ran out of memory"}


def _unmeasured(plan: Plan, trials: Trials, setting: Setting, decisions: list[dict[str, Any]]) -> Plan:
    """The plan where the person wants nothing measured."""
    recipe = trials.recipe
    setting = replace(setting, compile=settings.of(recipe).compile)
    micro = None if recipe.train.micro_batch == "auto" else recipe.train.micro_batch
    plan.recipe = resolve_plan(recipe, setting, decisions, micro)
    said = {k for k, v in recipe.train if v != "auto"}
    plan.decisions += [{**d, "why": SAID} if d["what"].removeprefix("train.") in said else d
                       for d in not_measured(plan.recipe, OFF)]  # fmt: skip
    plan.kept_fp32 = kept_fp32(trials, setting)
    return plan


def resolve_plan(
    recipe: Recipe, setting: Setting, decisions: list[dict[str, Any]], micro_batch: int | None = None
) -> Recipe:
    """The recipe with the plan's choices in place of every `auto`; batches are made here where that is still open."""
    workers = 0 if recipe.data.workers == "auto" else recipe.data.workers
    data = recipe.data.model_copy(update={"workers": workers, "store": decisions[0]["chosen"]})
    chosen = {k: v for k, v in vars(setting).items() if k != "implementation"}
    train = recipe.train.model_copy(update={**chosen, "micro_batch": micro_batch})
    optimizer = recipe.optimizer.model_copy(update={"implementation": setting.implementation})
    return recipe.model_copy(update={"data": data, "train": train, "optimizer": optimizer})


def unmeasured(recipe: Recipe) -> Recipe:
    """The recipe with every `auto` replaced by what is safe anywhere."""
    return resolve_plan(recipe, safe(recipe), [{"chosen": recipe.data.store}])


def not_measured(recipe: Recipe, why: str) -> list[dict[str, Any]]:
    """The decisions of a resolved recipe that came about without a measurement."""
    asked = ("threads", "precision", "compile", "channels_last", "micro_batch")
    return [decision(f"train.{key}", getattr(recipe.train, key), why) for key in asked]
