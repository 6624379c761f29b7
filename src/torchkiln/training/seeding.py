"""The global generators, set from (seed, purpose, step): what dropout and a person's own code draw from."""

from __future__ import annotations

from functools import cache

import torch

from torchkiln.data.replayed import seed_globals
from torchkiln.randomness import key


def seed_all(seed: int, *purpose: int | str) -> None:
    """Set Python's, NumPy's and torch's global generators, on the CPU and on each device in use.

    torch's own are set directly: `torch.manual_seed` formats a stack trace on a CUDA build without a GPU,
    which is 500 times slower.
    """
    value = key(seed, *purpose)
    seed_globals(value)
    cuda, mps = _devices()
    if cuda:
        torch.cuda.manual_seed_all(value)
    if mps:
        torch.mps.manual_seed(value)


@cache
def _devices() -> tuple[bool, bool]:
    """Whether there is CUDA and MPS; asking takes longer than all the seeding."""
    return torch.cuda.is_available(), torch.backends.mps.is_available()
