"""What a plan measured, kept for the next run of the same net and batch on the same machine."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import math
import os
from typing import Any

import torch
from torch import Tensor, nn

from torchkiln.data import cache
from torchkiln.recipe.schema import Recipe
from torchkiln.runs import environment
from torchkiln.training.devices import device_name
from torchkiln.training.trials import Trials

FOLDER = "plans"
VERSION = 1
"""Of the form of an entry."""
RUNTIME = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "MKL_NUM_THREADS", "LD_PRELOAD")
"""Variables that change how fast a step is."""
NOT_ASKED = {"epochs", "steps", "max_time", "accumulate", "early_stopping", "monitor", "validate_every",
             "validate_batches", "limit_batches", "checkpoint_every", "keep_every", "not_finite", "ema", "swa",
             "plan_seconds", "micro_batch"}  # fmt: skip
"""Keys of `train` that no step depends on."""


def key(trials: Trials, device: str, steps: float) -> str:
    """Name of an entry.

    Args:
        trials: Net, loss, batch and recipe.
        device: What it trains on.
        steps: Of the whole run; compiling pays in long ones, so that the power of two counts.
    """
    named = [(n, list(t.shape), str(t.dtype), t.requires_grad) for n, t in _named(trials.net)]
    said = {
        "version": VERSION, "net": str(trials.net), "tensors": named, "code": _code(trials.net),
        "loss": str(trials.criterion), "batch": _shapes(trials.part), "steps": round(math.log2(max(steps, 1))),
        "recipe": _asked(trials.recipe), "machine": machine(device),
    }  # fmt: skip
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:32]


def machine(device: str) -> list[Any]:
    """What makes one machine another, for the speed of a step; its load is not a part of it."""
    versions = [environment.version(p) for p in ("torchkiln", "torch")]
    flags = {n: os.environ.get(n) for n in (*RUNTIME, *environment.FLAGS)}
    return [device, device_name(device), environment.cores(), torch.backends.cpu.get_cpu_capability(), versions, flags]


def load() -> float | None:
    """Processes that wanted a core in the last minute, by the system's count."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def read(name: str) -> dict[str, Any] | None:
    """An entry; None where there is none, or a damaged one."""
    try:
        entry = json.loads((cache.folder() / FOLDER / f"{name}.json").read_text())
        return entry if entry["key"] == name and entry["decisions"] and entry["measured_at"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(name: str, entry: dict[str, Any]) -> None:
    """Keep an entry; a cache that cannot be written is no reason to stop."""
    file = cache.folder() / FOLDER / f"{name}.json"
    part = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({"key": name, **entry}))
        part.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _asked(recipe: Recipe) -> dict[str, Any]:
    """The keys that a step depends on."""
    train = recipe.train.model_dump(mode="json", exclude=NOT_ASKED)
    optimizer = recipe.optimizer.model_dump(mode="json")
    return {"task": recipe.task, "train": train, "optimizer": optimizer,
            "again": recipe.model.checkpoint_gradients}  # fmt: skip


def _code(net: nn.Module) -> str:
    """Digest of the source of the person's own classes: what they compute may change while their layers stay."""
    kinds = {type(m) for m in net.modules()}
    own = [k for k in kinds if k.__module__.partition(".")[0] not in ("torch", "torchvision", "torchkiln")]
    digest = hashlib.sha256()
    for kind in sorted(own, key=lambda k: (k.__module__, k.__qualname__)):
        digest.update(f"{kind.__module__}.{kind.__qualname__}".encode())
        try:
            digest.update(inspect.getsource(kind).encode())
        except (OSError, TypeError):  # typed in, or compiled
            continue
    return digest.hexdigest()


def _named(net: nn.Module) -> list[tuple[str, Tensor]]:
    return [*net.named_parameters(), *net.named_buffers()]


def _shapes(value: Any) -> Any:
    if isinstance(value, Tensor):
        return [list(value.shape), str(value.dtype)]
    if isinstance(value, dict):
        return {str(k): _shapes(v) for k, v in value.items()}
    return [_shapes(v) for v in value] if isinstance(value, list | tuple) else type(value).__name__
