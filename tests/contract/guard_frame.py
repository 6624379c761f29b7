"""Runs a short program under guard in this process, as `torchkiln guard -- python` would in one of its own."""

from __future__ import annotations

import linecache
import os
import re
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from torchkiln.checks.finding import Finding
from torchkiln.checks.guard.patches import Patches
from torchkiln.checks.guard.watch import Watch

PRELUDE = """
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(0)
def make(n):
    x = torch.randn(n, 8)
    return x, x[:, :3].argmax(1)
train_data, val_data = TensorDataset(*make(64)), TensorDataset(*make(40))
loader = DataLoader(train_data, batch_size=8, shuffle=True)
val_loader = DataLoader(val_data, batch_size=16)
model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))
optimizer = optim.SGD(model.parameters(), lr=0.1)
criterion = nn.CrossEntropyLoss()
"""
NAMED = re.compile(r"^# --- (.+)\n", re.MULTILINE)


def programs(file: Path) -> list[tuple[str, str]]:
    """(name, code) of each program of a file; `# --- name` begins one."""
    parts = NAMED.split(file.read_text(encoding="utf-8"))
    return list(zip(parts[1::2], parts[2::2], strict=True))


def watched(name: str, code: str, prelude: str = PRELUDE) -> list[Finding]:
    """What guard finds in a program; a fault within guard itself is raised."""
    found: list[Finding] = []
    file = f"<program {name}>"
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
    watch = Watch(found.append)
    space: dict[str, Any] = {"__name__": "__main__"}
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = lambda *a, **k: None
            with Patches(watch), mock.patch.dict(os.environ):  # what a program sets there ends with it
                exec(compile(prelude, "<prelude>", "exec"), space)
                exec(compile(code, file, "exec"), space)
    finally:
        torch.set_rng_state(state)
        torch.set_num_threads(threads)
    for event, error in watch.broken:
        raise AssertionError(event) from error
    return found
