"""Augmentation of pictures by torchvision's names, each a function of (seed, epoch, sample) alone.

The transforms that most recipes name work on whole batches; any other transform of
`torchvision.transforms.v2` runs picture by picture, under a generator keyed for that picture. Either way
the result does not depend on the other samples of the batch, on workers or on what ran before.

Shapes: B batch, C channels, H and W pixels. Pictures are uint8, or float in 0 to 255.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from torchkiln.data.store import Batch
from torchkiln.errors import RecipeError
from torchkiln.randomness import key, uniforms
from torchkiln.recipe import schema
from torchkiln.registry import did_you_mean

Indices = npt.NDArray[np.int64]
Progressive = Sequence[tuple[float, int]]


@dataclass(frozen=True)
class Draw:
    """What a transform may draw its randomness from, and the side it works at.

    Args:
        side: Pixels of the square picture that the net is to get in this epoch.
        shrink: `side` as a share of the full side; lengths in pixels are scaled with it.
    """

    seed: int
    epoch: int
    indices: Indices
    side: int
    shrink: float
    purpose: str

    def uniform(self, count: int) -> Tensor:
        """float64 of shape [B, count] in [0, 1)."""
        return torch.from_numpy(uniforms(self.seed, self.purpose, self.epoch, self.indices, count))


class Step(ABC):
    """One transform of a batch of pictures [B, C, H, W]."""

    @abstractmethod
    def __call__(self, image: Tensor, draw: Draw) -> Tensor: ...


class Augment:
    """Training batches as the net sees them: resized for the epoch, then transformed in the order given.

    Args:
        transforms: Of the recipe's `data.augment`.
        seed: The run's seed.
        size: Full side of the pictures, in pixels.
        epochs: Of the whole run, for `progressive`.
        progressive: [[until this share of the epochs, side in pixels], ...].

    Raises:
        RecipeError: A transform or an argument is unknown, or gives something that is no picture.
    """

    def __init__(
        self,
        transforms: Sequence[schema.Transform],
        *,
        seed: int,
        size: int,
        epochs: int = 1,
        progressive: Progressive | None = None,
    ) -> None:
        self.seed, self.size, self.epochs, self.progressive = seed, size, epochs, progressive or ()
        self.steps = [_step(t, size, f"data.augment[{i}]") for i, t in enumerate(transforms)]
        self._cuts_to_side = any(isinstance(step, ResizedCrop) and step.follows for step in self.steps)

    def __call__(self, batch: Batch, indices: Indices, epoch: int) -> Batch:
        """The batch with its `image` [B, H, W, C] transformed."""
        side = self.side(epoch)
        image = batch["image"].permute(0, 3, 1, 2)  # a view: rows of pixels stay as they lie
        if not self._cuts_to_side:
            image = resize(image, side)
        for i, step in enumerate(self.steps):
            image = step(image, Draw(self.seed, epoch, indices, side, side / self.size, f"augment {i}"))
        return {**batch, "image": image.permute(0, 2, 3, 1)}

    def side(self, epoch: int) -> int:
        """Pixels of a side in an epoch."""
        share = epoch / max(1, self.epochs)
        return next((side for until, side in self.progressive if share < until), self.size)


def resize(image: Tensor, side: int) -> Tensor:
    """Pictures [B, C, H, W] at `side` x `side` pixels, antialiased; the same dtype."""
    return image if image.shape[-2:] == (side, side) else _resized(image, side)


def _resized(image: Tensor, side: int) -> Tensor:
    if image.device.type == "cpu" or image.is_floating_point():
        return F.interpolate(image, (side, side), mode="bilinear", antialias=True)
    found = F.interpolate(image.float(), (side, side), mode="bilinear", antialias=True)  # no whole numbers elsewhere
    return found.round().clamp(0, 255).to(image.dtype)


@dataclass(frozen=True)
class HorizontalFlip(Step):
    """Mirrored with probability p; at p = 0.5 each picture takes turns from epoch to epoch.

    Turns see both ways round of every picture in two epochs, where chance would show some twice.

    References:
        Alternating flip: Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024,
        arXiv:2404.00498.
    """

    p: float

    def __call__(self, image: Tensor, draw: Draw) -> Tensor:
        if self.p == 0.5:
            first = uniforms(draw.seed, draw.purpose, 0, draw.indices, 1)[:, 0] < 0.5
            flip = torch.from_numpy(first ^ bool(draw.epoch % 2))
        else:
            flip = draw.uniform(1)[:, 0] < self.p
        return torch.where(flip.to(image.device).view(-1, 1, 1, 1), image.flip(3), image)


@dataclass(frozen=True)
class VerticalFlip(Step):
    """Upside down with probability p."""

    p: float

    def __call__(self, image: Tensor, draw: Draw) -> Tensor:
        flip = draw.uniform(1)[:, 0] < self.p
        return torch.where(flip.to(image.device).view(-1, 1, 1, 1), image.flip(2), image)


@dataclass(frozen=True)
class PaddedCrop(Step):
    """A window at a random place of the picture widened by a border.

    Args:
        padding: Left, top, right, bottom; pixels at the full side.
        mode: What the border holds: constant (`fill`), edge, reflect, symmetric.
        fill: One number, or one a channel, in 0 to 255.
        size: Height and width of the window; None: the epoch's side.
    """

    padding: tuple[int, int, int, int]
    mode: str
    fill: tuple[float, ...]
    size: tuple[int, int] | None

    def __call__(self, image: Tensor, draw: Draw) -> Tensor:
        left, top, right, bottom = (round(p * draw.shrink) if p else 0 for p in self.padding)
        height, width = self.size or (draw.side, draw.side)
        place = draw.uniform(2).to(image.device)
        y = _window(place[:, 0], image.shape[2], top, bottom, height)
        x = _window(place[:, 1], image.shape[3], left, right, width)
        rows, columns = self._inside(y, image.shape[2]), self._inside(x, image.shape[3])
        sample = torch.arange(len(image), device=image.device)[:, None, None]
        out = image.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        if self.mode == "constant":
            inside = (rows == y)[:, None, :, None] & (columns == x)[:, None, None, :]
            fill = torch.tensor(self.fill, dtype=image.dtype, device=image.device)
            out = torch.where(inside, out, fill.view(1, -1, 1, 1))
        return out

    def _inside(self, index: Tensor, length: int) -> Tensor:
        """Places beyond the border, at the pixel they take their value from."""
        if self.mode == "reflect":
            index = (length - 1) - (index.abs() - (length - 1)).abs()
        if self.mode == "symmetric":
            index = torch.where(index < 0, -1 - index, index)
            index = torch.where(index >= length, 2 * length - 1 - index, index)
        return index.clamp(0, length - 1)


@dataclass(frozen=True)
class ResizedCrop(Step):
    """A part of random area and shape, resized to the side.

    Args:
        scale: Least and greatest share of the area.
        ratio: Least and greatest width over height.
        size: Side in pixels; None: the epoch's.
    """

    scale: tuple[float, float]
    ratio: tuple[float, float]
    size: int | None

    @property
    def follows(self) -> bool:
        """Whether it gives the epoch's side itself, so that nothing need be resized before."""
        return self.size is None

    def __call__(self, image: Tensor, draw: Draw) -> Tensor:
        side, height, width = self.size or draw.side, image.shape[2], image.shape[3]
        u = draw.uniform(4)
        area = height * width * (self.scale[0] + (self.scale[1] - self.scale[0]) * u[:, 0])
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        shape = torch.exp(low + (high - low) * u[:, 1])
        w = (area * shape).sqrt().round().clamp(1, width)
        h = (area / shape).sqrt().round().clamp(1, height)
        x, y = ((width - w + 1) * u[:, 2]).long(), ((height - h + 1) * u[:, 3]).long()
        boxes = torch.stack([y, y + h.long(), x, x + w.long()], dim=1).tolist()
        parts = (image[i : i + 1, :, a:b, c:d] for i, (a, b, c, d) in enumerate(boxes))
        return torch.cat([_resized(p, side) for p in parts])


@dataclass(frozen=True)
class Erase(Step):
    """A rectangle of one colour over a part of the picture, with probability p.

    Args:
        value: One number, or one a channel, in 0 to 255.
        scale, ratio: As for `ResizedCrop`.
    """

    p: float
    scale: tuple[float, float]
    ratio: tuple[float, float]
    value: tuple[float, ...]

    def __call__(self, image: Tensor, draw: Draw) -> Tensor:
        height, width = image.shape[2], image.shape[3]
        u = draw.uniform(5)
        area = height * width * (self.scale[0] + (self.scale[1] - self.scale[0]) * u[:, 0])
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        shape = torch.exp(low + (high - low) * u[:, 1])
        h = (area * shape).sqrt().round().clamp(1, height)
        w = (area / shape).sqrt().round().clamp(1, width)
        y, x = ((height - h + 1) * u[:, 2]).floor(), ((width - w + 1) * u[:, 3]).floor()
        u, h, w, y, x = (part.to(image.device) for part in (u, h, w, y, x))
        rows = torch.arange(height, device=image.device)[None]
        columns = torch.arange(width, device=image.device)[None]
        hit = (u[:, 4] < self.p)[:, None, None]
        inside_rows = (rows >= y[:, None]) & (rows < (y + h)[:, None])
        inside_columns = (columns >= x[:, None]) & (columns < (x + w)[:, None])
        mask = (inside_rows[:, :, None] & inside_columns[:, None, :] & hit)[:, None]
        colour = torch.tensor(self.value, dtype=image.dtype, device=image.device).view(1, -1, 1, 1)
        return torch.where(mask, colour, image)


@dataclass(frozen=True)
class PerPicture(Step):
    """Any transform of torchvision, picture by picture.

    Args:
        transform: Takes and gives a picture [C, H, W]; draws from torch's global generator.
        where: The recipe's key, for errors.
    """

    transform: v2.Transform
    where: str

    def __call__(self, image: Tensor, draw: Draw) -> Tensor:
        out = []
        for picture, index in zip(image, draw.indices.tolist(), strict=True):
            torch.default_generator.manual_seed(key(draw.seed, draw.purpose, draw.epoch, index))
            out.append(self.transform(picture))
        if len({p.shape for p in out}) > 1:
            raise RecipeError(f"{self.where}: {_name(self.transform)} gives pictures of different sizes; "
                              "put a RandomResizedCrop in its place or a Resize behind it")  # fmt: skip
        return torch.stack(out).contiguous(memory_format=torch.channels_last)


def names() -> list[str]:
    """Transforms that a recipe may name."""
    classes = [(n, c) for n, c in vars(v2).items() if isinstance(c, type) and c is not v2.Transform]
    return sorted(n for n, c in classes if issubclass(c, v2.Transform))


def _step(given: schema.Transform, size: int, where: str) -> Step:
    """The transform of a recipe, whole-batch where there is such a version of it."""
    args = dict(given.model_extra or {})
    follows = given.name in ("RandomCrop", "RandomResizedCrop") and "size" not in args
    transform = _build(given.name, {"size": size, **args} if follows else args, where)
    step = _whole_batch(transform, args, follows) or PerPicture(transform, where)
    _probe(step, given.name, size, where)
    return step


def _build(name: str, args: Mapping[str, Any], where: str) -> v2.Transform:
    if name not in names():
        raise RecipeError(f"{where}: torchvision.transforms.v2 has no {name!r}{did_you_mean(name, names())}")
    nested = {
        k: [_build(t["name"], {a: b for a, b in t.items() if a != "name"}, f"{where}.{k}[{i}]")
            for i, t in enumerate(v)]
        if k == "transforms" and isinstance(v, list) else v
        for k, v in args.items()
    }  # fmt: skip
    try:
        transform: v2.Transform = getattr(v2, name)(**nested)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{where}: {name}: {error}") from error
    return transform


def _whole_batch(transform: v2.Transform, args: Mapping[str, Any], follows: bool) -> Step | None:
    """The whole-batch version of a transform whose arguments torchvision has accepted, if there is one."""
    t: Any = transform  # torchvision keeps the arguments as attributes, in their full form
    size = None if follows else args.get("size")
    match _name(transform):
        case "RandomHorizontalFlip":
            return HorizontalFlip(t.p)
        case "RandomVerticalFlip":
            return VerticalFlip(t.p)
        case "RandomErasing" if args.get("value") != "random":
            return Erase(t.p, tuple(t.scale), tuple(t.ratio), _colour(args.get("value", 0)))
        case "RandomResizedCrop" if args.keys() <= {"size", "scale", "ratio"} and t.size[0] == t.size[-1]:
            return ResizedCrop(tuple(t.scale), tuple(t.ratio), size and t.size[0])
        case "RandomCrop" if not t.pad_if_needed and not isinstance(args.get("fill"), dict):
            fill = _colour(args.get("fill") or 0)
            return PaddedCrop(_borders(args.get("padding")), t.padding_mode, fill, size and tuple(t.size))
        case _:
            return None


def _probe(step: Step, name: str, size: int, where: str) -> None:
    """Try the transform on a grey picture: what it gives must be a picture in 0 to 255 again."""
    grey = torch.full((1, 3, size, size), 128, dtype=torch.uint8)
    try:
        out = step(grey, Draw(0, 0, np.zeros(1, np.int64), size, 1.0, "probe"))
    except RecipeError:
        raise
    except Exception as error:  # a transform may raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RecipeError(f"{where}: {name} does not work on a uint8 picture alone: {reason}") from error
    if out.ndim != 4 or out.shape[1] != 3 or out.dtype != torch.uint8:
        raise RecipeError(
            f"{where}: {name} gives {out.dtype} {list(out.shape[1:])} where a uint8 picture [3, height, "
            "width] is needed; the net itself scales and normalises"
        )


def _name(transform: v2.Transform) -> str:
    return type(transform).__name__


def _colour(value: float | Sequence[float]) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, Sequence) else (value,)


def _borders(padding: int | Sequence[int] | None) -> tuple[int, int, int, int]:
    """Left, top, right, bottom, from torchvision's one, two or four numbers."""
    given = [0] if padding is None else [padding] if isinstance(padding, int) else list(padding)
    left, top, right, bottom = (given * 4)[:4] if len(given) != 2 else given * 2
    return left, top, right, bottom


def _window(place: Tensor, length: int, before: int, behind: int, size: int) -> Tensor:
    """Pixel positions [B, size] of a window at `place` in [0, 1) of the widened length."""
    room = length + before + behind - size + 1
    if room < 1:
        raise ValueError(f"a window of {size} pixels does not fit into {length} + {before} + {behind}")
    start = (place * room).long() - before
    return start[:, None] + torch.arange(size, device=place.device)
