"""The callback that guards a Lightning script of anyone's."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import lightning.pytorch as L


class Guarding(L.Callback):
    """Watches a fit from its beginning to its end, however it ends.

    Args:
        guard: What watches while it is entered.
    """

    def __init__(self, guard: AbstractContextManager[Any]) -> None:
        self.guard = guard
        self._entered = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage == "fit" and not self._entered:
            self._entered = True
            self.guard.__enter__()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self._entered:
            self._entered = False
            self.guard.__exit__(None, None, None)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "fit")
