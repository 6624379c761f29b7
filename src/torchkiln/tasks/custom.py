"""The person's own net on the person's own data: what is measured follows from outputs and targets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from torchkiln.codec.base import Codec
from torchkiln.codec.target import Labels, Number
from torchkiln.data.own import TARGET_NAMES
from torchkiln.data.source import Finding, Kind, Source
from torchkiln.data.store import Batch
from torchkiln.errors import DataError, RecipeError
from torchkiln.models import losses, own
from torchkiln.recipe.schema import Recipe
from torchkiln.tasks import _metrics
from torchkiln.tasks._base import Array, Metric, Task, first_batch, softmax

EMBEDDING_LOSSES = ("triplet_margin", "cosine_embedding")
IGNORED = -100
"""The class that PyTorch's losses pass by."""


class Custom(Task):
    """Any net and any data.

    A batch is what the person's collate makes. A tuple `(x, ..., y)` calls `net(x, ...)` and
    `loss(output, y)`; a dict calls the net with all entries but the target's by name. With
    `triplet_margin` a batch is `(anchor, positive, negative)`, with `cosine_embedding` `(a, b, y)`, and the
    net is called on each.

    Args:
        recipe: The person's recipe.
        codec: Not used; `look` makes the target's part of it.
    """

    name: ClassVar[str] = "custom"
    source_kind: ClassVar[Kind | None] = None  # type: ignore[assignment]
    prediction_kind: Literal["classes", "number"] = "classes"  # type: ignore[misc]

    def __init__(self, recipe: Recipe, codec: Codec | None = None) -> None:
        self.recipe = recipe
        self.loss_name = recipe.loss.name
        self.own_loss: nn.Module | None = None
        self.kind: Literal["classes", "binary", "number", "none"] = "none"
        self.target: Labels | Number | None = None

    @classmethod
    def defaults(cls, source: Source, recipe: Recipe) -> dict[str, Any]:
        return DEFAULTS

    @classmethod
    def fit_codec(cls, train: pl.DataFrame, recipe: Recipe) -> tuple[Codec, list[Finding]]:
        raise RecipeError("data: task custom takes data.class_path, or datasets from Python; for files choose "
                          "another task")  # fmt: skip

    def build(self, fresh: bool = True) -> nn.Module:
        if not self.recipe.model.class_path:
            raise RecipeError("model.class_path: task custom needs the class path of a net")
        return own.build(self.recipe.model)

    def look(self, net: nn.Module, batch: Batch, train_targets: list[Tensor]) -> None:
        """Run one batch to see what outputs and targets are, and so what can be measured.

        Args:
            net: On the CPU; left as it was but for lazy parameters, which get their shapes.
            batch: As from a store.
            train_targets: Targets of the training split, for class counts and range.

        Raises:
            ModelError: The net does not take the batch, or the loss not its output.
            DataError: A target is no number, or a class that the net has no output for.
        """
        output = first_batch(self, net, self.criterion(np.empty(0)), batch)
        if self.loss_name in EMBEDDING_LOSSES or not train_targets or not isinstance(output, Tensor):
            return
        targets = torch.cat([t.flatten(1) if t.ndim > 1 else t for t in train_targets])
        self._tell_kind(output, targets)
        if self.own_loss is None and not self.recipe.loss.class_path:  # a loss of the person's own may allow for them
            _refuse_wrong(targets, output.shape[1] if self.kind == "classes" else None)

    def _tell_kind(self, output: Tensor, target: Tensor) -> None:
        whole = not target.is_floating_point()
        if target.ndim == 1 and whole and output.ndim == 2 and output.shape[1] > 1:
            self.kind, names = "classes", [str(i) for i in range(output.shape[1])]
            self.target = Labels("target", names)
        elif self.loss_name == "bce_with_logits" and target.ndim == 1 and output.numel() == len(output):
            self.kind, self.target = "binary", Labels("target", ["0", "1"])
        elif target.is_floating_point() and target.numel() == len(target) and output.numel() == len(output):
            self.kind, self.prediction_kind = "number", "number"
            low, high = float(target.min()), float(target.max())
            self.target = Number("target", 0.0, 1.0, low, high)

    def forward(self, net: nn.Module, batch: Batch) -> Any:
        given = batch["batch"]
        if self.loss_name == "triplet_margin":
            return tuple(net(x) for x in given)
        if self.loss_name == "cosine_embedding":
            return tuple(net(x) for x in given[:2])
        if isinstance(given, dict):
            return net(**{k: v for k, v in given.items() if k not in TARGET_NAMES})
        if isinstance(given, list | tuple):
            return net(*given[:-1]) if len(given) > 1 else net(given[0])
        return net(given)

    def criterion(self, train_target: Array) -> nn.Module:
        if self.own_loss is not None:
            return self.own_loss
        if self.recipe.loss.class_path:
            return losses.from_class_path(self.recipe.loss)
        if self.loss_name is None or self.loss_name == "auto":
            raise RecipeError("loss: task custom needs one; give its name or a class path")
        return losses.plain(self.recipe.loss, self.loss_name)

    def loss(self, criterion: nn.Module, output: Any, batch: Batch) -> Tensor:
        if self.loss_name == "triplet_margin":
            result: Tensor = criterion(*output)
        elif self.loss_name == "cosine_embedding":
            result = criterion(*output, batch["batch"][2])
        else:
            result = criterion(output, batch.get("target"))
        return result

    def predict(self, output: Tensor) -> Tensor:
        if self.kind == "classes":
            return output.float().exp() if self.loss_name == "nll" else softmax(output)
        flat = output.float().flatten()
        if self.kind == "binary":
            chance = torch.sigmoid(flat)
            return torch.stack([1 - chance, chance], dim=1)
        return flat

    def metrics(self) -> list[Metric]:
        if self.kind == "none":
            return []
        if isinstance(self.target, Labels):
            return [_of_whole_targets(m) for m in _metrics.classification(self.target.classes)]
        return _metrics.regression()


def _refuse_wrong(targets: Tensor, classes: int | None) -> None:
    if targets.is_floating_point() and not bool(targets.isfinite().all()):
        wrong = targets[~targets.isfinite()].flatten()[0].item()
        raise DataError(f"data: a training target is {wrong}; leave such samples out of the data set")
    if classes is None:
        return
    beyond = targets[((targets < 0) | (targets >= classes)) & (targets != IGNORED)]
    if len(beyond):
        raise DataError(f"data: a training target is {int(beyond[0])}, but the net has {classes} outputs, "
                        f"for the classes 0 to {classes - 1}")  # fmt: skip


DEFAULTS: dict[str, Any] = {
    "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01},
    "scheduler": {"name": "cosine", "warmup": 0.05},
    "train": {"epochs": 20, "batch_size": 32},
}


def _of_whole_targets(metric: Metric) -> Metric:
    """Binary targets are floats for their loss, and classes for the metrics."""
    return replace(metric, score=lambda target, prediction: metric.score(target.astype(np.int64), prediction))
