"""Loss and predictions of nets with one output a class, alone or as an ensemble."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from torchkiln.codec.base import Codec
from torchkiln.codec.image import ImageCodec
from torchkiln.codec.target import Labels
from torchkiln.recipe.schema import Recipe
from torchkiln.tasks.image_classification import ImageClassification


def task(**recipe: Any) -> ImageClassification:
    given = Recipe(task="image_classification", data={"image_size": 8}, **recipe)  # type: ignore[arg-type]
    return ImageClassification(given, Codec(ImageCodec("image", 8), Labels("label", ["a", "b", "c"])))


def test_an_ensemble_has_the_mean_loss_of_its_members_and_their_mean_probability() -> None:
    members = torch.randn(5, 4, 3)
    batch = {"target": torch.tensor([0, 1, 2, 0, 1])}
    loss = task().loss(nn.CrossEntropyLoss(), members, batch)
    wanted = torch.stack([F.cross_entropy(members[:, k], batch["target"]) for k in range(4)]).mean()
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(task().predict(members), torch.softmax(members, -1).mean(1))


def test_one_net_is_plain_cross_entropy_and_softmax() -> None:
    output, batch = torch.randn(5, 3), {"target": torch.tensor([0, 1, 2, 0, 1])}
    criterion = task(loss={"label_smoothing": 0.2}).criterion(np.array([0, 1, 2]))
    assert float(task().loss(criterion, output, batch)) == pytest.approx(
        float(F.cross_entropy(output, batch["target"], label_smoothing=0.2)))  # fmt: skip
    torch.testing.assert_close(task().predict(output), torch.softmax(output, -1))


def test_accuracy_is_the_first_metric() -> None:
    assert task().metrics()[0].name == "accuracy"
    assert task().classes == ["a", "b", "c"]
