"""The defaults suit the pictures, and the parts fit together from pictures to probabilities."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch import nn

from torchkiln.codec.image import ImageCodec
from torchkiln.codec.target import Labels
from torchkiln.data.source import Source
from torchkiln.data.store import ArrayStore
from torchkiln.models import images
from torchkiln.models.images import PictureNet
from torchkiln.models.reach import OFFLINE
from torchkiln.recipe.load import resolve
from torchkiln.recipe.schema import Recipe
from torchkiln.registry import load_task
from torchkiln.tasks import image_classification as task_module
from torchkiln.tasks.image_classification import ImageClassification, epochs_for, mirrored, progressive
from torchkiln.training.muon import Muon
from torchkiln.training.optimization import build_optimizer


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(OFFLINE, "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


def source(side: int = 8, count: int = 12, labels: tuple[str, ...] = ("cat", "dog")) -> Source:
    """Bright and dark pictures by class."""
    raws = []
    for i in range(count):
        level = 40 + 160 * (i % 2)
        pixels = np.random.default_rng(i).integers(level, level + 40, (side, side, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        raws.append(buffer.getvalue())
    frame = pl.DataFrame({
        "key": [f"{i:02}" for i in range(count)],
        "split": ["train"] * (count - 4) + ["val", "val", "test", "test"],
        "image": raws,
        "label": [labels[i % 2] for i in range(count)],
    })  # fmt: skip
    return Source("images", frame, Path(), "digest")


def resolved(given: Source, **parts: Any) -> Recipe:
    recipe = Recipe.model_validate({"task": "image_classification", "data": {"path": "x"}, **parts})
    return resolve(recipe, ImageClassification.defaults(given, recipe))


def bound(given: Source, **parts: Any) -> tuple[ImageClassification, ArrayStore]:
    recipe = resolved(given, **parts)
    train = given.rows("train")
    codec, findings = ImageClassification.fit_codec(train, recipe)
    assert findings == []
    store = ArrayStore(codec.inputs.encode(train), codec.target.encode(train["label"]))  # type: ignore[arg-type]
    return ImageClassification(recipe, codec), store


def test_it_is_found_by_its_name() -> None:
    assert load_task("image_classification") is ImageClassification


@pytest.mark.parametrize("side", [8, 20, 32, 48, 64])
def test_small_pictures_keep_their_size_and_get_our_net(side: int) -> None:
    recipe = resolved(source(side))
    assert recipe.data.image_size == side
    assert recipe.model.name == images.OWN
    assert recipe.data.augment != "auto"


def test_photos_without_published_weights_get_our_net() -> None:
    recipe = resolved(source(200))
    assert (recipe.model.name, recipe.model.pretrained, recipe.data.image_size) == (images.OWN, False, 128)


def test_photos_at_a_side_of_the_person_s_are_cut_in_proportion() -> None:
    recipe = resolved(source(200), data={"path": "x", "image_size": 200})
    assert recipe.data.augment[0].model_extra["size"] == 150  # type: ignore[union-attr,index]
    assert recipe.model.args["stride"] == 4


def test_photos_get_published_weights_where_they_are_in_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "weights_in_reach", lambda name: name == "resnet18")
    recipe = resolved(source(200))
    assert (recipe.model.name, recipe.model.pretrained, recipe.data.image_size) == ("resnet18", True, 224)
    assert recipe.optimizer.groups[0].match == "backbone.*"
    refused = resolved(source(200), model={"pretrained": False})
    assert (refused.model.name, refused.model.pretrained) == (images.OWN, False)


@pytest.mark.parametrize("side", [32, 200])
def test_a_named_net_is_trained_from_nothing_without_weights(side: int) -> None:
    recipe = resolved(source(side), model={"name": "resnet18"})
    assert (recipe.model.name, recipe.model.pretrained, recipe.model.args) == ("resnet18", False, {})
    assert recipe.optimizer.name == "adamw"


def test_what_the_person_says_stays() -> None:
    own = {
        "data": {"path": "x", "image_size": 16, "augment": []},
        "train": {"epochs": 3, "batch_size": 5},
        "optimizer": {"name": "sgd", "lr": 0.5},
    }
    recipe = resolved(source(32), **own)
    assert (recipe.data.image_size, recipe.data.augment) == (16, [])
    assert (recipe.train.epochs, recipe.train.batch_size) == (3, 5)
    assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.optimizer.groups) == ("sgd", 0.5, [])


@pytest.mark.parametrize(("labels", "expected"), [(["0", "1", "7"], False), (["a", "B"], False), (["cat", "x"], True)])
def test_digits_and_letters_are_not_mirrored(labels: list[str], expected: bool) -> None:
    assert mirrored(pl.Series(labels)) is expected
    if len(labels) == 2:
        augment = resolved(source(8, labels=(labels[0], labels[1]))).data.augment
        assert ("RandomHorizontalFlip" in [t.name for t in augment]) is expected  # type: ignore[union-attr]


def test_small_data_gets_more_epochs() -> None:
    assert epochs_for(1500, 1257, 64) == 76
    assert epochs_for(1500, 10, 64) == 100
    assert epochs_for(1500, 10**6, 64) == 10
    assert progressive(32) == [[0.35, 20], [0.65, 26]]


@pytest.mark.parametrize("model", [{}, {"name": "mobilenet_v3_small"}])
def test_from_pictures_to_probabilities(model: dict[str, Any]) -> None:
    given = source(32)
    task, store = bound(given, model=model)
    net = task.build()
    assert isinstance(net, PictureNet)
    transform = task.transform()
    assert transform is not None
    rows = np.arange(8)
    batch = transform(store.take(rows, 0), rows, 0)
    criterion = task.criterion(store.target)  # type: ignore[arg-type]
    loss = task.loss(criterion, task.forward(net, batch), batch)
    loss.backward()  # type: ignore[no-untyped-call]
    probabilities = task.predict(task.forward(net.eval(), store.take(rows, 0)))
    assert probabilities.shape == (8, 2)
    assert torch.allclose(probabilities.sum(1), torch.ones(8), atol=1e-5)


def test_it_learns_bright_from_dark() -> None:
    given = source(8, count=36)
    task, store = bound(given)
    torch.manual_seed(0)
    net = task.build().train()
    optimizer = build_optimizer(net, task.recipe.optimizer)
    assert isinstance(optimizer, Muon)
    criterion = task.criterion(store.target)  # type: ignore[arg-type]
    batch = store.take(np.arange(32), 0)
    for _ in range(12):
        optimizer.zero_grad()
        task.loss(criterion, task.forward(net, batch), batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    chosen = task.predict(task.forward(net.eval(), batch)).argmax(1)
    assert torch.equal(chosen, batch["target"])


class Own(nn.Module):
    """A person's net: notes what it is given."""

    seen: torch.Tensor

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layer = nn.LazyLinear(outputs)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen = image
        out: torch.Tensor = self.layer(image.flatten(1))
        return out


def test_a_net_of_ones_own_gets_normalised_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchkiln.models.own.load_object", lambda path, where: Own)
    given = source(8)
    task, store = bound(given, model={"class_path": "my.Own", "init_args": {"outputs": 2}})
    net = task.build()
    assert isinstance(net, Own)
    batch = store.take(np.arange(4), 0)
    assert task.forward(net, batch).shape == (4, 2)
    expected = (batch["image"][0, 0, 0] / 255 - torch.tensor(images.MEAN)) / torch.tensor(images.STD)
    assert torch.allclose(net.seen[0, :, 0, 0], expected, atol=1e-5)
    assert net.seen.dtype == torch.float32


def test_the_codec_is_that_of_the_recipe() -> None:
    task, _ = bound(source(20))
    assert isinstance(task.codec.inputs, ImageCodec)
    assert task.codec.inputs.size == 20
    assert isinstance(task.codec.target, Labels)
    assert task.classes == ["cat", "dog"]


def test_progressive_defaults_go_with_many_pictures() -> None:
    many = task_module.small_pictures(32, 22_500, True)
    assert many["data"]["progressive"] == [[0.35, 20], [0.65, 26]]
    assert task_module.small_pictures(8, 1257, False)["data"]["progressive"] is None
