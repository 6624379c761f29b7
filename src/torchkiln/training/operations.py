"""What the operations of a training step compute and move, and how long each takes, seen as they are dispatched."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

TRIES = 300
"""Operations on single numbers by which the cost of watching one is measured."""
_ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"
READS_ROWS = ("embedding", "_embedding_bag", "_embedding_bag_forward_only", "index", "index_select", "gather")
"""Operations that read a few rows of their first tensor only."""


@dataclass(frozen=True)
class Machine:
    """What the machine does at best, measured.

    Args:
        flops: Floating-point operations a second of a matrix product in the step's dtype and with its threads.
        bandwidth: Bytes a second to and from memory.
        launch: Seconds that the smallest operation takes.
    """

    flops: float
    bandwidth: float
    launch: float


@dataclass(frozen=True)
class Operation:
    """One operation: its name, seconds, floating-point operations, and bytes read and written."""

    name: str
    seconds: float
    flops: int
    bytes: int

    def best(self, machine: Machine) -> float:
        """Seconds it would take if it reached what the machine does at best."""
        return max(self.flops / machine.flops, self.bytes / machine.bandwidth)

    def is_compute(self, machine: Machine) -> bool:
        """Whether arithmetic bounds it, and not memory."""
        return self.flops / machine.flops >= self.bytes / machine.bandwidth


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes each operation between `__enter__` and `__exit__`, those of the backward pass and the optimizer too.

    Products, convolutions and attention count as in `torch.utils.flop_counter`; all else has no flops. Bytes are
    those of the tensors that go in and come out, as if no cache held any of them; a view moves none.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.made: list[Operation] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        begun = time.perf_counter()
        out = func(*args, **kwargs)
        seconds = time.perf_counter() - begun
        name = func._overloadpacket.__name__
        self.made.append(
            Operation(name, seconds, _flops(func, args, kwargs, out), _moved(func, name, args, kwargs, out))
        )
        return out


@dataclass(frozen=True)
class Work:
    """Seconds of a step in which operations truly work, by what bounds each, and what they do in that time.

    Args:
        compute: Seconds in operations bound by arithmetic.
        memory: Seconds in operations bound by memory.
        flops: Of all.
        bytes: Moved by all.
        count: How many operations there are.
    """

    compute: float
    memory: float
    flops: int
    bytes: int
    count: int


def median_work(made: list[list[Operation]], window: int, machine: Machine, watching: float) -> Work:
    """The work of a step, from the one whose work took the median time.

    Args:
        made: By optimizer step.
        window: Batches that make one.
        machine, watching: As for `work`.
    """
    found = [work(one, window, machine, watching) for one in made]
    return sorted(found, key=lambda one: one.compute + one.memory)[len(found) // 2]


def work(made: list[Operation], steps: int, machine: Machine, watching: float) -> Work:
    """What is left of the operations' seconds without what each costs to launch; the mean of a step.

    An operation that at best takes less than its launch is bound by that: of it only the best counts. On a GPU,
    where an operation returns before it has begun, all count so.

    Args:
        made: As seen by `Operations`.
        steps: In so many steps.
        machine: What it does at best.
        watching: Seconds an operation takes that does nothing, while it is watched; infinite on a GPU.
    """
    compute = memory = 0.0
    for one in made:
        best = one.best(machine)
        seconds = max(one.seconds - watching, best) if best > watching else best
        if one.is_compute(machine):
            compute += seconds
        else:
            memory += seconds
    flops, moved = sum(one.flops for one in made), sum(one.bytes for one in made)
    return Work(compute / steps, memory / steps, flops // steps, moved // steps, len(made) // steps)


def cost_of_watching() -> float:
    """Seconds of an operation on single numbers, as `Operations` sees it; the median of many."""
    x = torch.zeros(1)
    with Operations() as seen:
        for _ in range(TRIES):
            x.add_(1.0)
    found: list[float] = sorted(one.seconds for one in seen.made)
    return found[len(found) // 2]


def _flops(func: Any, args: Any, kwargs: Mapping[str, Any], out: Any) -> int:
    packet = func._overloadpacket
    if packet.__name__ == _ATTENTION:  # which torch's own table lacks
        return int(sdpa_flop_count(*(t.shape for t in args[:3])))  # type: ignore[no-untyped-call]
    if packet.__name__ == f"{_ATTENTION}_backward":
        return int(sdpa_backward_flop_count(*(t.shape for t in args[:4])))  # type: ignore[no-untyped-call]
    counted = flop_registry.get(packet)
    return int(counted(*args, **kwargs, out_val=out)) if counted else 0


def _moved(func: Any, name: str, args: Any, kwargs: Mapping[str, Any], out: Any) -> int:
    if func.is_view or name in ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach"):
        return 0
    written = sum(map(_bytes, _tensors(out)))
    if name in READS_ROWS:
        return 2 * written
    return written + sum(map(_bytes, _tensors((args, *kwargs.values()))))


def _bytes(tensor: Tensor) -> int:
    """Bytes behind a tensor; one that was expanded is read from the few it has."""
    size = tensor.numel() * tensor.element_size()
    if tensor.layout != torch.strided:
        return size
    return min(size, tensor.untyped_storage().nbytes())


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)
