"""What bounds a training step, from what was measured of it, and the one thing to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torchkiln.recipe.schema import Recipe

INPUT, COMPUTE, MEMORY, LAUNCH, LOGGING = "input", "compute", "memory bandwidth", "launch overhead", "logging"


@dataclass(frozen=True)
class Step:
    """Seconds of a step.

    Args:
        input: Waiting for the batch and bringing it to the device.
        net: Forward, loss, backward, optimizer; on a GPU only what it takes to launch them.
        between: All else: callbacks, logging, Lightning's loop.
        compute: Of operations bound by arithmetic; on the CPU part of `net`, on a GPU beside all of the others.
        memory: Of operations bound by memory; likewise.
        on_gpu: Whether they run beside.
    """

    input: float
    net: float
    between: float
    compute: float
    memory: float
    on_gpu: bool = False

    @property
    def seconds(self) -> float:
        """The whole step."""
        return self.input + self.net + self.between


def shares(step: Step) -> dict[str, float]:
    """What share of a step each of the five bounds has; they add up to 1.

    On the CPU, what of the net's time is not work of its operations is what it costs to launch them. A GPU is
    bound by its own work while it works, and while it idles by whatever the CPU is at.
    """
    room = step.seconds if step.on_gpu else step.net
    works = step.compute + step.memory
    fitting = min(1.0, room / works) if works else 0.0
    compute, memory = step.compute * fitting, step.memory * fitting
    idle = (step.seconds - compute - memory) / step.seconds if step.on_gpu else 1.0
    launch = step.net if step.on_gpu else step.net - compute - memory
    found = {
        INPUT: step.input * idle,
        COMPUTE: compute,
        MEMORY: memory,
        LAUNCH: launch * idle,
        LOGGING: step.between * idle,
    }
    return {name: max(seconds, 0.0) / step.seconds for name, seconds in found.items()}


def next_step(
    bound: str, recipe: Recipe, decisions: Sequence[Mapping[str, Any]], *, cores: int, convolves: bool,
    costliest: tuple[str, float] | None = None,
) -> str:  # fmt: skip
    """The one change to try, in the words of the recipe.

    Args:
        bound: What has the largest share.
        recipe: Resolved; what it has already is not advised.
        decisions: The plan's; what it measured and did not take is not advised either.
        cores: There are for this process.
        convolves: Whether the net has convolutions.
        costliest: A hook of the person's own that takes most of what is between, and its seconds a step.
    """
    tried = {d["what"] for d in decisions if d.get("candidates")}
    steps = {
        INPUT: _for_input(recipe, cores),
        COMPUTE: _for_compute(recipe, cores, convolves),
        MEMORY: _for_memory(recipe),
        LAUNCH: _for_launch(recipe),
        LOGGING: _for_logging(recipe, costliest),
    }
    return next(text for key, text in steps[bound] if key not in tried)


Advice = list[tuple[str, str]]
"""(key, what to do), best first; the last one always holds."""


def _for_input(recipe: Recipe, cores: int) -> Advice:
    data, found = recipe.data, []
    if data.store == "stream" and not data.class_path and recipe.task != "custom":
        found.append(("data.store", "decode once and not in each epoch: data.store=cache"))
    busy = recipe.train.threads if isinstance(recipe.train.threads, int) else cores
    if data.workers in (0, "auto") and cores > 1:
        less = f" train.threads={cores - 1}" if busy >= cores and recipe.train.device == "cpu" else ""
        found.append(("", f"read ahead beside training: data.workers=1{less}"))
    elif isinstance(data.workers, int) and data.workers + 1 < cores:
        found.append(("", f"read ahead in more processes: data.workers={data.workers + 1}"))
    if data.augment not in ("auto", []) and recipe.task == "image_classification":
        found.append(("", "make a sample cheaper: fewer transforms in data.augment, or a smaller data.image_size"))
    found.append(("", "make a sample cheaper to read: keep what does not change from epoch to epoch ready in memory or "
                      "on disk"))  # fmt: skip
    return found


def _for_compute(recipe: Recipe, cores: int, convolves: bool) -> Advice:
    train, found = recipe.train, []
    if recipe.model.freeze and recipe.model.cache_features is not True:
        found.append(("model.cache_features", "compute the frozen backbone's features once: model.cache_features=true"))
    if train.precision in ("32", "auto"):
        found.append(("train.precision", "half the bits: train.precision=bf16"))
    if convolves and train.channels_last is not True:
        found.append(("train.channels_last", "convolutions like channels last: train.channels_last=true"))
    if train.device == "cpu" and isinstance(train.threads, int) and train.threads < cores:
        found.append(("train.threads", f"more cores: train.threads={cores}"))
    side = recipe.data.image_size
    if isinstance(side, int) and side >= 64 and recipe.task == "image_classification":
        found.append(("", f"less arithmetic: smaller pictures early, data.progressive=[[0.5,{side // 2}]], or a "
                          f"data.image_size below {side}"))  # fmt: skip
    found.append(("", "less arithmetic: a smaller net (model.name, model.args), or fewer epochs (train.epochs); the "
                      "machine itself is the bound"))  # fmt: skip
    return found


def _for_memory(recipe: Recipe) -> Advice:
    train, found = recipe.train, []
    if train.precision in ("32", "auto"):
        found.append(("train.precision", "half the bytes: train.precision=bf16"))
    if train.compile in (False, "auto"):
        found.append(("train.compile", "join operations that each go through memory: train.compile=true"))
    found.append(("", "move less: smaller tables of embeddings, fewer elementwise layers, or an optimizer with less "
                      "state (optimizer.name=sgd)"))  # fmt: skip
    return found


def _for_launch(recipe: Recipe) -> Advice:
    size = recipe.train.batch_size or 32
    found = []
    if recipe.train.device == "cuda" and recipe.train.compile != "reduce-overhead":
        found.append(("train.compile", "record the step once and replay it: train.compile=reduce-overhead"))
    found.append(("", f"more work in each operation: train.batch_size={4 * size}, with optimizer.lr raised to go "
                      "with it"))  # fmt: skip
    return found


def _for_logging(recipe: Recipe, costliest: tuple[str, float] | None) -> Advice:
    if costliest:
        name, seconds = costliest
        return [("", f"{name} takes {1e3 * seconds:.2g} ms of each step: do it every few hundred steps, or by the "
                     "clock")]  # fmt: skip
    size = recipe.train.batch_size or 32
    return [("", f"what is done each step beside the net is much the same for any step, so take fewer and larger "
                 f"ones: train.batch_size={4 * size}, with optimizer.lr raised to go with it")]  # fmt: skip
