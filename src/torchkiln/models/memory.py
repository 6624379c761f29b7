"""Running out of memory: how it is told, and what is given back then."""

from __future__ import annotations

import gc
import re

import torch


def out_of_memory(error: BaseException) -> bool:
    """Whether the device, or the machine, has no memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in said or "out of memory" in said)


def memory_asked(error: BaseException) -> str:
    """What was asked for, in the allocator's own words; nothing where it does not say."""
    found = re.search(r"(?i)tried to allocate [\d.]+ ?\w*", str(error))
    return found.group(0) if found else ""


def release_memory() -> None:
    """Give back what the failed step held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
