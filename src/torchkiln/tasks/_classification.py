"""What all tasks of sorting into classes share."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from torchkiln.codec.target import Labels
from torchkiln.data.store import Batch
from torchkiln.models import losses
from torchkiln.tasks import _metrics
from torchkiln.tasks._base import Array, Metric, Task, softmax


class Classification(Task):
    """Loss, probabilities and metrics for nets that give [n, classes], or [n, k, classes] for k members."""

    prediction_kind: ClassVar[Literal["classes", "number"]] = "classes"

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of the net's outputs."""
        target = self.codec.target
        assert isinstance(target, Labels)
        return target.classes

    def criterion(self, train_target: Array) -> nn.Module:
        return losses.build(self.recipe.loss, "cross_entropy", train_target, len(self.classes))

    def loss(self, criterion: nn.Module, output: Tensor, batch: Batch) -> Tensor:
        target = batch["target"]
        if output.ndim == 3:  # each member of an ensemble has a loss of its own
            target = target.repeat_interleave(output.shape[1])
            output = output.flatten(0, 1)
        result: Tensor = criterion(output, target)
        return result

    def predict(self, output: Tensor) -> Tensor:
        probabilities = softmax(output)
        return probabilities.mean(dim=1) if output.ndim == 3 else probabilities

    def metrics(self) -> list[Metric]:
        return _metrics.classification(self.classes)
