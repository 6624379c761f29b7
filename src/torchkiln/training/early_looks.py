"""Validation within a long first epoch: a score that is good enough, or hopeless, shows sooner."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L

SHARES = (8, 4, 2)
"""After an eighth, a quarter and half of the epoch: learning is fastest at its beginning."""
LONG = 100
"""Batches from which an epoch is long to wait for."""


class EarlyLooks(L.Callback):
    """Asks for validations within the first epoch by the batch alone, so that a resume has the same."""

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        batches = trainer.num_training_batches
        self._at: set[int] = set()
        if isinstance(batches, int):  # else the loader does not say how many, and validation is at its end
            self._batches = trainer.val_check_batch = batches
            if trainer.current_epoch == 0 and batches >= LONG:
                self._at = {-(-batches // share) for share in SHARES}

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._at:  # Lightning validates after batches that `val_check_batch` divides
            trainer.val_check_batch = batch_idx + 1 if batch_idx + 1 in self._at else self._batches
