"""In which way a step is run: threads, arithmetic, layout and kernels, set around it and put back."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn

from torchkiln.recipe.schema import Recipe
from torchkiln.training.spared import no_driver_search

KERNELS = {"flash": "FLASH_ATTENTION", "efficient": "EFFICIENT_ATTENTION", "cudnn": "CUDNN_ATTENTION", "math": "MATH"}
"""`train.attention` to the names in `torch.nn.attention.SDPBackend`."""


@dataclass(frozen=True)
class Setting:
    """One way to run a step; each field is the key of that name under `train`, or under `optimizer`."""

    device: str
    threads: int
    precision: str = "32"
    channels_last: bool = False
    compile: bool | str = False
    implementation: str = "auto"
    attention: str = "default"
    cudnn_benchmark: bool = False
    allocator: str = "default"
    deterministic: bool = False


def of(recipe: Recipe) -> Setting:
    """How a recipe says that its steps are run; what it leaves open is as torch has it."""
    train = recipe.train
    return Setting(
        device=train.device,
        threads=torch.get_num_threads() if train.threads == "auto" else train.threads,
        precision="32" if train.precision == "auto" else train.precision,
        channels_last=train.channels_last is True,
        compile=False if train.compile == "auto" else train.compile,
        implementation=recipe.optimizer.implementation,
        attention="default" if train.attention == "auto" else train.attention,
        cudnn_benchmark=train.cudnn_benchmark is True,
        allocator="default" if train.allocator == "auto" else train.allocator,
        deterministic=train.deterministic,
    )


@contextlib.contextmanager
def process(setting: Setting) -> Iterator[None]:
    """Threads and deterministic kernels for a block, whatever it computes; put back behind it."""
    cudnn = torch.backends.cudnn
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    before = cudnn.deterministic, cudnn.benchmark
    torch.set_num_threads(setting.threads)
    if setting.deterministic:
        torch.use_deterministic_algorithms(True)
        cudnn.deterministic = True
    try:
        with no_driver_search():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        cudnn.deterministic, cudnn.benchmark = before


@contextlib.contextmanager
def applied(setting: Setting) -> Iterator[None]:
    """Train in this way for a block, as far as it is a matter of the process.

    All is put back behind it but the allocator, which stays until a block wants it otherwise.
    """
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, products.allow_tf32
    keep_freed_memory(setting.allocator == "keep")
    with process(setting), kernels(setting.attention):
        if setting.device == "cuda":
            cudnn.benchmark = setting.cudnn_benchmark and not setting.deterministic
            cudnn.allow_tf32 = products.allow_tf32 = setting.precision == "tf32"
        try:
            yield
        finally:
            if setting.device == "cuda":
                cudnn.allow_tf32, products.allow_tf32 = before


def kernels(attention: str) -> Any:
    """Scaled dot products by one kernel, and by plain matrix products where that one cannot.

    Which of the two depends on shapes and types alone, so that a resumed run has the same.
    """
    if attention == "default":
        return contextlib.nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    order = [getattr(SDPBackend, KERNELS[attention]), SDPBackend.MATH]
    return sdpa_kernel(order[: 1 if attention == "math" else 2], set_priority=True)


def autocast(setting: Setting) -> Any:
    """Mixed precision for a block, or none."""
    dtype = {"bf16": torch.bfloat16, "16": torch.float16}.get(setting.precision)
    return torch.autocast(setting.device, dtype or torch.bfloat16, enabled=dtype is not None)


def prepared_net(net: nn.Module, channels_last: bool) -> nn.Module:
    """The net with its convolution weights laid out as the plan says."""
    return net.to(memory_format=torch.channels_last) if channels_last else net


@cache
def can_keep_freed_memory() -> bool:
    """Whether the allocator is glibc's, which can be told to."""
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt")


_MALLOPT = {
    "M_MMAP_MAX": (-4, 0, 65536),
    "M_MMAP_THRESHOLD": (-3, 32 << 20, 32 << 20),
    "M_TRIM_THRESHOLD": (-1, 2**31 - 1, 64 << 20),
    "M_TOP_PAD": (-2, 64 << 20, 128 << 10),
}
"""Options of glibc's malloc.h: number, value that keeps freed memory, value without. Left alone, glibc raises two of
them to these by itself where large tensors come and go, and no longer once it was told of any."""
_kept = False


def keep_freed_memory(on: bool) -> None:
    """Have glibc keep freed memory or not; it else returns large tensors to the system, which maps them anew."""
    global _kept
    if on == _kept or not can_keep_freed_memory():
        return
    mallopt = ctypes.CDLL(None).mallopt
    for option, kept, default in _MALLOPT.values():
        mallopt(option, kept if on else default)
    _kept = on
