"""What Lightning and torch do at every step for nobody, left out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.trainer.states import RunningStage

DRIVER_SEARCH = "PYTORCH_NVML_BASED_CUDA_CHECK"
_NOTHING = contextlib.nullcontext()


class NoProfiler(Profiler):
    """Measures nothing, without the generator that Lightning's own makes for each of some 40 hooks a step."""

    def start(self, action_name: str) -> None:
        pass

    def stop(self, action_name: str) -> None:
        pass

    def profile(self, action_name: str) -> Any:
        """A context in which nothing is measured."""
        return _NOTHING


class LeanTrainer(L.Trainer):
    """Lightning's, with two questions answered sooner that it asks itself some 50 and 15 times a step.

    Without a profiler it has one that measures nothing.
    """

    _fitted: L.LightningModule | None = None

    def __init__(self, *, profiler: Profiler | None = None, **settings: Any) -> None:
        super().__init__(profiler=profiler or NoProfiler(), **settings)

    def fit(self, model: L.LightningModule, *args: Any, **kwargs: Any) -> None:
        """As Lightning's."""
        self._fitted = model
        super().fit(model, *args, **kwargs)

    @property
    def lightning_module(self) -> Any:
        """The module that is fitted; else whichever Lightning's strategy holds."""
        return super().lightning_module if self._fitted is None else self._fitted

    @property
    def training(self) -> bool:
        """Whether it trains now; stages are members of one enumeration, so nothing need be compared."""
        return self.state.stage is RunningStage.TRAINING

    @training.setter
    def training(self, yes: bool) -> None:
        if yes:
            self.state.stage = RunningStage.TRAINING
        elif self.training:
            self.state.stage = None


@contextlib.contextmanager
def no_driver_search() -> Iterator[None]:
    """Where torch finds no CUDA device, let it not search for the driver's library again at each step of Adam.

    Lightning sets a variable by which torch loads that library to count devices, so that worker processes may be
    forked safely; a search that fails is not remembered. Without a device there is nothing to be safe from.
    """
    kept = None if torch.cuda.is_available() else os.environ.pop(DRIVER_SEARCH, None)
    try:
        yield
    finally:
        if kept is not None:
            os.environ[DRIVER_SEARCH] = kept
