"""What one kind of work adds to what all share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor, nn

from torchkiln.codec.base import Codec
from torchkiln.data.source import Finding, Kind, Source
from torchkiln.data.store import Batch
from torchkiln.errors import ModelError
from torchkiln.models import adapt
from torchkiln.recipe.schema import Recipe

Array = npt.NDArray[Any]
Transform = Callable[[Batch, Array, int], Batch]
"""(batch, indices int64 [n], epoch) -> batch: what happens to a training batch before the net sees it."""
FEATURES = "features"
"""Entry of a batch that stands in the place of the inputs where the net's backbone was run before."""


@dataclass(frozen=True)
class Metric:
    """A measure of predictions.

    Args:
        name: As in recipes, tables and the report.
        score: (target [n], prediction [n] or [n, classes]) -> number.
        higher_is_better: Its direction.
    """

    name: str
    score: Callable[[Array, Array], float]
    higher_is_better: bool


class Task(ABC):
    """One kind of work: how its data is read, its net, loss, metrics and predictions.

    A new kind is one new file in this folder with one subclass; its `name` is the file's name.

    Required: all abstract methods below. Optional: `transform`, `features`.

    Args:
        recipe: The person's recipe, resolved.
        codec: Fitted on the training split.
    """

    name: ClassVar[str]
    source_kind: ClassVar[Kind]
    prediction_kind: ClassVar[Literal["classes", "number"]]
    """classes: probabilities float32 [n, classes]; number: float32 [n] in the target's own unit."""

    def __init__(self, recipe: Recipe, codec: Codec) -> None:
        self.recipe, self.codec = recipe, codec

    # Before there is a codec

    @classmethod
    @abstractmethod
    def defaults(cls, source: Source, recipe: Recipe) -> dict[str, Any]:
        """Values for what the recipe leaves open, as a nested dict laid under the person's own.

        Args:
            source: All rows with their splits; only the training rows may be looked at.
        """

    @classmethod
    @abstractmethod
    def fit_codec(cls, train: pl.DataFrame, recipe: Recipe) -> tuple[Codec, list[Finding]]:
        """Input and target codec fitted on the training rows, and a word on each column left out."""

    # The net

    @abstractmethod
    def build(self, fresh: bool = True) -> nn.Module:
        """The net of `recipe.model`, before freezing and initialisation by scheme.

        The global generators are seeded before the call.

        Args:
            fresh: With the weights it begins from, pretrained ones where the recipe says so; else its
                weights are loaded afterwards, and none need be fetched.
        """

    def transform(self) -> Transform | None:
        """What is done to training batches in the loader, such as augmentation; None: nothing."""
        return None

    @abstractmethod
    def forward(self, net: nn.Module, batch: Batch) -> Tensor:
        """Outputs of the net for a batch that is on the net's device."""

    def features(self, net: nn.Module, batch: Batch) -> Tensor | None:
        """What the net has made of a batch where its head begins, [B, ...]; None where it cannot be cut there.

        Where it can, `forward` takes batches of `FEATURES` in place of the inputs.
        """
        return None

    @abstractmethod
    def criterion(self, train_target: Array) -> nn.Module:
        """The loss of `recipe.loss`, for the training targets as encoded."""

    @abstractmethod
    def loss(self, criterion: nn.Module, output: Tensor, batch: Batch) -> Tensor:
        """The mean loss of the batch, a scalar."""

    # Measures and predictions

    @abstractmethod
    def predict(self, output: Tensor) -> Tensor:
        """Outputs to predictions, float32 on any device: see `prediction_kind`."""

    @abstractmethod
    def metrics(self) -> list[Metric]:
        """The measures of this task; the first is the one that says which epoch is best, and compares."""


def first_batch(task: Task, net: nn.Module, criterion: nn.Module, batch: Batch) -> Any:
    """What a person's own net gives for a batch, so that a misfit is told before anything is measured.

    Args:
        task, criterion: What the net is to be trained on.
        net: On the CPU; left as it was but for lazy parameters, which get their shapes.
        batch: As from a store.

    Raises:
        ModelError: The net does not take the batch, or the loss not its output.
    """
    try:
        with adapt.evaluating(net), torch.no_grad():
            output = task.forward(net, batch)
            task.loss(criterion, output, batch)
    except (TypeError, RuntimeError, ValueError, IndexError, KeyError) as error:
        said = str(error).strip().splitlines() or ["no message"]
        raise ModelError(f"model: a first batch fails: {type(error).__name__}: {said[0]}") from error
    return output


def softmax(output: Tensor) -> Tensor:
    """Probabilities in float32 over the last dimension."""
    return torch.softmax(output.float(), dim=-1)


def scores(metrics: list[Metric], target: Array, prediction: Array) -> Mapping[str, float]:
    """All metrics by name; NaN where one is undefined, such as AUROC of a single class."""
    with np.errstate(all="ignore"):
        return {m.name: m.score(target, prediction) for m in metrics}
