"""The global generators, set from (seed, purpose, step): what dropout and a person's own code draw from."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import torch

from torchkiln.randomness import key


def seed_all(seed: int, *purpose: int | str) -> None:
    """Set Python's, NumPy's and torch's global generators, on the CPU and on each device in use.

    torch's own are set directly: `torch.manual_seed` formats a stack trace on a CUDA build without a GPU,
    which is 500 times slower.
    """
    value = key(seed, *purpose)
    random.seed(value)
    np.random.seed(value & 0xFFFFFFFF)  # noqa: NPY002  # a person's code may draw from it
    torch.default_generator.manual_seed(value)
    cuda, mps = _devices()
    if cuda:
        torch.cuda.manual_seed_all(value)
    if mps:
        torch.mps.manual_seed(value)


@cache
def _devices() -> tuple[bool, bool]:
    """Whether there is CUDA and MPS; asking takes longer than all the seeding."""
    return torch.cuda.is_available(), torch.backends.mps.is_available()
