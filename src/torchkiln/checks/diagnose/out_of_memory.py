"""What a message of CUDA's allocator says, and which cause its figures, its frames and the log speak for."""

from __future__ import annotations

import itertools
import re

from torchkiln.checks.diagnose.failure import Failure
from torchkiln.checks.diagnose.rule import Context

OUT_OF_MEMORY = (
    r"(?:CUDA|HIP|MPS|XPU)(?: backend)? out of memory|CUDA (?:driver )?error: out of memory|"
    r"cuda runtime error \(2\)|CUDA_ERROR_OUT_OF_MEMORY|"
    r"cudaErrorMemoryAllocation|Allocation on device|out of memory trying to allocate"
)
NOT_HOST = r"Error|Exception|Interrupt"
UNITS = {"bytes": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40, "KB": 10, "MB": 20, "GB": 30}
SIZE = r"([\d.]+) (bytes|[KMGT]i?B)"
EVALUATES = re.compile(
    r"(?:^|_)(?:eval|evaluate|evaluation|valid|validate|validation|val|test|predict|infer|inference)(?:_|$|\b)"
)
SPARED = re.compile(r"decorate_context|no_grad|inference_mode|evaluation_loop|_evaluation_loop|prediction_loop")
ADDED = re.compile(r"\+=|\.append\(|retain_graph ?= ?True")
GROWING = re.compile(r"mem(?:ory)?(?:_?\w+)?\s*[:=]?\s*([\d.]+)\s*([KMGT]i?B)", re.IGNORECASE)


def fragmented(failure: Failure, context: Context) -> bool:
    """Whether what is reserved and not used would do, with what is free."""
    asked, unused = _size(failure.flat, rf"Tried to allocate {SIZE}"), _unused(failure.flat)
    free, total = _free(failure.flat), _total(failure.flat)
    return asked > 0 and unused > 0.08 * total and unused + free >= asked


def others(failure: Failure, context: Context) -> bool:
    """Whether most of what is taken is not this program's."""
    total = _total(failure.flat)
    mine = _size(failure.flat, rf"this process has {SIZE}") or _own(failure.flat)
    taken = total - _free(failure.flat) - mine
    return total > 0 and taken > 0.25 * total and taken > 0.5 * mine


def graph_kept(failure: Failure, context: Context) -> bool:
    """Whether something that outlives a step hangs on its graph, or the log shows memory that only grows."""
    place = failure.place
    if place is not None and ADDED.search(place.code):
        return True
    held = [v for f in failure.frames if f.own for v in f.values.values()]
    if any(v["is"] == "list" and v["graph"] and v["length"] > 2 for v in held):
        return True
    if {"W129", "W130"} & set(context.lint()):
        return True
    seen = [
        _bytes(m[1], m[2]) for line in context.lines[-400:] if (m := GROWING.search(line)) and "allocate" not in line
    ]
    return len(seen) > 3 and all(a < b for a, b in itertools.pairwise(seen)) and seen[-1] > 1.5 * seen[0]


def evaluating(failure: Failure, context: Context) -> bool:
    """Whether it happened in a function that evaluates, with gradients recorded."""
    own = [f for f in failure.frames if f.own]
    return any(EVALUATES.search(f.function.rpartition(".")[2]) for f in own) and not SPARED.search(failure.where)


def placing(failure: Failure, context: Context) -> bool:
    """Whether weights or the optimizer's states were being placed."""
    place = failure.place
    return bool(re.search(r"\b_apply\(|torch/optim/|from_pretrained|load_state_dict", failure.where)) or (
        place is not None
        and bool(re.search(r"\b(?:model|net|module|encoder|decoder)\w*\.(?:to|cuda|half)\(", place.code))
    )


def _total(text: str) -> float:
    return _size(text, rf"total capac?i?ty of {SIZE}") or _size(text, rf"{SIZE} total capacity")


def _free(text: str) -> float:
    return _size(text, rf"of which {SIZE} is free") or _size(text, rf"{SIZE} free")


def _unused(text: str) -> float:
    found = _size(text, rf"{SIZE} is reserved by PyTorch but unallocated")
    return found or max(
        _size(text, rf"{SIZE} (?:reserved in total|cached)") - _size(text, rf"{SIZE} already allocated"), 0
    )


def _own(text: str) -> float:
    found = _size(text, rf"{SIZE} is allocated by PyTorch")
    return (
        found + _unused(text)
        if found
        else _size(text, rf"{SIZE} reserved in total") or _size(text, rf"{SIZE} already allocated")
    )


def _size(text: str, pattern: str) -> float:
    found = re.search(pattern, text)
    return _bytes(found[1], found[2]) if found else 0.0


def _bytes(number: str, unit: str) -> float:
    power = next((p for name, p in UNITS.items() if name.lower() == unit.lower()), 0)
    return float(number.rstrip(".")) * 2.0**power
