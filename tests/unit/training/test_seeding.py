"""The global generators are functions of (seed, purpose)."""

import random

import numpy as np
import torch

from torchkiln.training.seeding import seed_all


def draws() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]  # noqa: NPY002


def test_the_same_purpose_gives_the_same_draws_whatever_came_before() -> None:
    seed_all(1, "step", 3)
    first = draws()
    draws()
    seed_all(1, "step", 3)
    assert draws() == first
    seed_all(1, "step", 4)
    assert not any(a == b for a, b in zip(draws(), first, strict=True))
