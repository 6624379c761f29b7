"""What is put into a life of a run beside the kill: clocks that lie, and state that is lost on the way back."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch


class LateClock(L.Callback):
    """A clock that jumps by a day at a step; not in a life that finds the decision made.

    Args:
        step: When it jumps.
    """

    def __init__(self, step: int) -> None:
        self.step, self._late, self._real = step, 0.0, time.perf_counter

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        time.perf_counter = lambda: self._real() + self._late

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._late = 86400.0 if trainer.global_step >= self.step else 0.0


def time_is_up_at(step: int) -> Callable[[Path], list[L.Callback]]:
    """The run's budget is used up when it comes to `step`."""

    def callbacks(run: Path) -> list[L.Callback]:
        log = run / "decisions.jsonl"
        return [] if log.is_file() and log.stat().st_size else [LateClock(step)]

    return callbacks


def dots(place: Path) -> Path:
    """A folder a class of pictures of 12 x 12."""
    from PIL import Image

    folder = place / "dots"
    random = np.random.default_rng(0)
    for kind in ("dark", "light"):
        if (folder / kind).is_dir():
            continue
        (folder / kind).mkdir(parents=True)
        for i in range(30):
            pixels = random.integers(0, 156, (12, 12, 3)) + (100 if kind == "light" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / kind / f"{i:02}.png")
    return folder


def _no_progress(state: dict[str, Any]) -> None:
    for part in state["lightning"]["progress"]["batch"].values():
        if isinstance(part, dict):
            part.update(dict.fromkeys(part, 0))


def _blank(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def blank(state: dict[str, Any]) -> None:
        parts = [state["lightning"], *(rank["lightning"] for rank in state["ranks"])]
        holders = [part for part in parts if key in part]
        assert holders, f"no checkpoint holds {key}"
        for part in holders:
            part[key] = value

    return blank


def _no_totals(state: dict[str, Any]) -> None:
    for rank in state["ranks"]:
        rank["train_totals"] = torch.zeros(2, dtype=torch.float64)


def _no_best(state: dict[str, Any]) -> None:
    state["recorder"] = {**state["recorder"], "best": {}}


LOSSES: dict[str, Callable[[dict[str, Any]], None]] = {
    "batch progress": _no_progress,
    "callback metrics": _blank("callback_metrics", {}),
    "result collection": _blank("results", {}),
    "torchmetrics states": _blank("metrics", {}),
    "train totals": _no_totals,
    "best so far": _no_best,
    "first-iteration flag": _blank("first_loop_iter", None),
}
"""Parts of the state, and how a resume loses them."""


def lose(part: str) -> None:
    """Every checkpoint that this life reads lacks a part of its state."""
    from torchkiln.training import state_files

    load = state_files.load

    def load_less(folder: Path, name: str) -> Any:
        tree = load(folder, name)
        if isinstance(tree, dict) and "torchkiln" in tree:
            LOSSES[part](tree["torchkiln"])
        return tree

    state_files.load = load_less
