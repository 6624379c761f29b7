"""Pictures into classes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import polars as pl
from torch import Tensor, nn

from torchkiln.codec.base import Codec
from torchkiln.codec.image import ImageCodec, shorter_sides
from torchkiln.codec.target import Labels
from torchkiln.data.augment import Augment
from torchkiln.data.source import Finding, Kind, Source
from torchkiln.data.store import Batch
from torchkiln.models import images, own
from torchkiln.recipe.schema import Model, Recipe
from torchkiln.tasks._base import FEATURES, Transform
from torchkiln.tasks._classification import Classification

SMALL = 64
"""Sides in pixels up to which pictures are kept at their own size and go through our own net."""
PUBLISHED = "resnet18"
"""The net for photos where its published weights are in reach."""

MANY = 10_000
"""Training pictures from which the net is wider and begins with smaller pictures."""

_OWN = {"name": images.OWN, "pretrained": False}
_CUTOUT = {"name": "RandomErasing", "p": 1.0, "scale": [0.05, 0.15], "ratio": [0.5, 2.0], "value": [124, 116, 104]}
_COLOURS = {"name": "ColorJitter", "brightness": 0.4, "contrast": 0.4, "saturation": 0.4}


class ImageClassification(Classification):
    """A folder a class, or a table of pictures and labels."""

    name: ClassVar[str] = "image_classification"
    source_kind: ClassVar[Kind] = "images"

    @classmethod
    def defaults(cls, source: Source, recipe: Recipe) -> dict[str, Any]:
        train = source.rows("train")
        sides = shorter_sides(train["image"].to_list())
        side = int(np.median(sides)) if len(sides) else 224
        if recipe.data.image_size != "auto":
            side = recipe.data.image_size
        count, flips = len(train), mirrored(train[recipe.data.target or "label"])
        name, published = choose_net(recipe.model, side)
        if name == images.OWN and side <= SMALL:
            return small_pictures(side, count, flips)
        if name == images.OWN:
            return photos(128 if recipe.data.image_size == "auto" else side, count, flips)
        return named_net(name, published, side, count, flips)

    @classmethod
    def fit_codec(cls, train: pl.DataFrame, recipe: Recipe) -> tuple[Codec, list[Finding]]:
        size = recipe.data.image_size
        assert isinstance(size, int)  # resolved
        return Codec(ImageCodec("image", size), Labels.fit(train[recipe.data.target or "label"])), []

    def build(self, fresh: bool = True) -> nn.Module:
        if self.recipe.model.class_path:
            net: nn.Module = own.build(self.recipe.model)
            return net
        model = self.recipe.model if fresh else self.recipe.model.model_copy(update={"pretrained": False})
        return images.build(model, len(self.classes), self._size)

    def transform(self) -> Transform | None:
        data = self.recipe.data
        augment = [] if data.augment == "auto" else data.augment
        if not augment and not data.progressive:
            return None
        return Augment(
            augment,
            seed=self.recipe.seed,
            size=self._size,
            epochs=self.recipe.train.epochs or 1,
            progressive=data.progressive,
        )

    def features(self, net: nn.Module, batch: Batch) -> Tensor | None:
        return net.features(_image(batch)) if isinstance(net, images.PictureNet) else None

    def forward(self, net: nn.Module, batch: Batch) -> Tensor:
        if FEATURES in batch:
            made: Tensor = net.head(batch[FEATURES])  # type: ignore[operator]
            return made
        image = _image(batch)
        if self.recipe.model.class_path:  # a net of the person's own gets pictures ready for it
            image = images.Normalize().to(image.device)(image)
        out: Tensor = net(image)
        return out

    @property
    def _size(self) -> int:
        inputs = self.codec.inputs
        assert isinstance(inputs, ImageCodec)
        return inputs.size


def _image(batch: Batch) -> Tensor:
    image: Tensor = batch["image"].permute(0, 3, 1, 2).float()
    return image


def small_pictures(side: int, count: int, flips: bool) -> dict[str, Any]:
    """Defaults for our own net and pictures of up to 64 pixels; measured on CIFAR-10 and on 8 x 8 digits.

    Args:
        side: Of the pictures, in pixels.
        count: Training pictures.
        flips: Whether a mirrored picture is of the same class.
    """
    many, side = count >= MANY, max(8, side)
    sides = progressive(side) if many and side >= 24 else None
    steps = 400 if side <= 16 else 1500  # what shows so little detail is soon learnt
    net = {"widths": [64, 256, 256], "momentum": 0.4} if many else {"widths": [64, 128, 128]}
    return {
        "data": {
            "image_size": side,
            "augment": [*_moved(side, flips), *([_CUTOUT] if many else [])],
            "progressive": sides,
        },
        "model": {**_OWN, "args": {**net, "stride": 2 if side >= 48 else 1}},
        **_muon(0.1),
        "loss": {"name": "cross_entropy", "label_smoothing": 0.2 if many else 0.1},
        "train": {"epochs": 20 if many else epochs_for(steps, count, 64), "batch_size": 250 if many else 64},
    }


def photos(side: int, count: int, flips: bool) -> dict[str, Any]:
    """Defaults for our own net and larger pictures, from nothing; measured on 194 photos of two insects.

    Training sees smaller cuts than the test: what is cut out and enlarged looks as large as in the whole.

    Args:
        side: Of the pictures that are tested, in pixels.
        count: Training pictures.
        flips: Whether a mirrored picture is of the same class.
    """
    few = count < 1000
    cut = {"name": "RandomResizedCrop", "scale": [0.35, 1.0], "size": round(side * 0.75)}
    widths, steps, batch = ([32, 64, 128], 500, 32) if few else ([64, 128, 256], 2000, 64)
    return {
        "data": {"image_size": side, "augment": [cut, *_flip(flips), _COLOURS]},
        "model": {**_OWN, "args": {"widths": widths, "stride": 2 if side < 192 else 4, "pool": "mean"}},
        **_adamw(3e-3, 0.05),
        "loss": {"name": "cross_entropy", "label_smoothing": 0.1},
        "train": {"epochs": epochs_for(steps, count, batch), "batch_size": batch},
    }


def named_net(name: str | None, published: bool, side: int, count: int, flips: bool) -> dict[str, Any]:
    """Defaults for a net by name, or of the person's own (None).

    Args:
        published: Whether it starts from published weights, which want pictures like those they saw.
        side: Usual shorter side, in pixels.
        count: Training pictures.
        flips: Whether a mirrored picture is of the same class.
    """
    small = side <= SMALL
    size = (128 if small else 224) if published else (max(32, side) if small else 128)
    cut = {"name": "RandomResizedCrop", "scale": [0.5 if published else 0.35, 1.0]}
    optimizer = _adamw(1e-3, 0.05)
    if published:  # what was learnt before moves slowly, the new head fast
        optimizer["optimizer"]["groups"] = [{"match": "backbone.*", "lr": 1e-4}]
    return {
        "data": {"image_size": size, "augment": _moved(size, flips) if small else [cut, *_flip(flips)]},
        "model": {} if name is None else {"name": name, "pretrained": published},
        **optimizer,
        "loss": {"name": "cross_entropy", "label_smoothing": 0.1},
        "train": {"epochs": epochs_for(800 if published else 3000, count, 32), "batch_size": 32},
    }


def progressive(side: int) -> list[list[float]]:
    """Small pictures first: most of what is learnt early needs no detail, and they cost a third."""
    return [[0.35, round(side * 0.625)], [0.65, round(side * 0.8125)]]


def epochs_for(steps: int, count: int, batch: int) -> int:
    """Epochs that come to about so many optimizer steps, at least 10 and at most 100."""
    return min(100, max(10, round(steps * batch / max(1, count))))


def mirrored(labels: pl.Series) -> bool:
    """Whether a mirrored picture is still of its class: not where classes are single digits or letters."""
    return bool((labels.drop_nulls().cast(pl.String).str.len_chars() > 1).any())


def choose_net(model: Model, side: int) -> tuple[str | None, bool]:
    """The name of the net, None for the person's own, and whether it starts from published weights.

    Photos go through a published net where its weights are in reach, all else through our own.
    """
    if model.class_path:
        return None, False
    wanted = model.name or (images.OWN if side <= SMALL else PUBLISHED)
    published = model.pretrained is True or (model.pretrained == "auto" and images.weights_in_reach(wanted))
    if not published and not model.name:
        wanted = images.OWN
    return wanted, published


def _flip(flips: bool) -> list[dict[str, Any]]:
    return [{"name": "RandomHorizontalFlip"}] if flips else []


def _moved(side: int, flips: bool) -> list[dict[str, Any]]:
    """Mirrored, and moved by up to an eighth of the side; the least pictures by a pixel."""
    by = max(1, round(side / 8 if side >= 24 else side / 12))
    border = "reflect" if flips else "constant"  # digits and letters stand on an empty ground
    return [*_flip(flips), {"name": "RandomCrop", "padding": by, "padding_mode": border}]


def _muon(lr: float) -> dict[str, Any]:
    """Muon for the filters, AdamW at rates of their own for the head and the norms' biases."""
    groups = [{"match": "head.*", "lr": 0.003}, {"match": "*.bias", "lr": 0.01}]
    return {
        "optimizer": {"name": "muon", "lr": lr, "momentum": 0.6, "groups": groups},
        "scheduler": {"name": "linear", "warmup": 0.2, "final": 0.0},  # its steps are never small by themselves
    }


def _adamw(lr: float, weight_decay: float) -> dict[str, Any]:
    return {
        "optimizer": {"name": "adamw", "lr": lr, "weight_decay": weight_decay},
        "scheduler": {"name": "cosine", "warmup": 0.1, "final": 0.0},
    }
