"""What a machine does at best, measured here and now: matrix products, memory, launches."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from torchkiln.training.operations import Machine

DTYPES = {"32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}
"""Types of products by `train.precision`."""
SIDES = (256, 512, 1024, 2048, 4096, 8192)
LONG_ENOUGH = 0.1
"""Seconds of a product from which a larger one shows nothing new."""
REPEATS = 5
TRIAD_BYTES = {"cpu": 2**26, "cuda": 2**30}
"""Of each of the three arrays: more than caches hold."""
LAUNCHES = 2000


def measure(device: str, dtype: torch.dtype) -> Machine:
    """The best of a few tries each, with the threads that are set now.

    Args:
        device: cpu, cuda or mps.
        dtype: In which products are computed.
    """
    return Machine(matrix_peak(device, dtype), bandwidth(device), launch(device))


def matrix_peak(device: str, dtype: torch.dtype) -> float:
    """Floating-point operations a second of the fastest square product."""
    best = 0.0
    for side in SIDES:
        a, b = (torch.ones(side, side, dtype=dtype, device=device) for _ in range(2))
        seconds = _best(lambda a=a, b=b: a @ b, device)  # type: ignore[misc]
        best = max(best, 2 * side**3 / seconds)
        if seconds > LONG_ENOUGH or (device == "cpu" and side >= 2048):
            break
    return best


def bandwidth(device: str) -> float:
    """Bytes a second of the triad a = b + 2 c, of which each number is read or written once.

    References:
        McCalpin, "Memory Bandwidth and Machine Balance in Current High Performance Computers" (1995).
    """
    each = TRIAD_BYTES.get(device, TRIAD_BYTES["cpu"])
    a, b, c = (torch.ones(each // 4, device=device) for _ in range(3))
    return 3 * each / _best(lambda: torch.add(b, c, alpha=2, out=a), device)


def launch(device: str) -> float:
    """Seconds of an operation on a single number, one after the other."""
    x = torch.zeros(1, device=device)

    def many() -> Tensor:
        for _ in range(LAUNCHES):
            x.add_(1.0)
        return x

    return _best(many, device) / LAUNCHES


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def _best(work: Callable[[], object], device: str) -> float:
    work()
    seconds = []
    for _ in range(REPEATS):
        synchronize(device)
        begun = time.perf_counter()
        work()
        synchronize(device)
        seconds.append(time.perf_counter() - begun)
    return min(seconds)
