"""The kinds of devices that nets train on: which there are, and what they call themselves."""

from __future__ import annotations

import torch

from torchkiln.runs import environment


def best_device() -> str:
    """cuda, mps or cpu: the first this machine has."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def available(device: str) -> str:
    """The device a run was trained on, or the best there is where this machine lacks it."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return device if there.get(device, False) else best_device()


def device_name(device: str) -> str:
    """What the device calls itself."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return environment.cpu_model()
