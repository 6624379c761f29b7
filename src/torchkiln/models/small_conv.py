"""A small convolutional net for small pictures, laid out by their size.

Patches of pixels go through a fixed basis first: brightness and two colour differences, each in the slow
waves of a cosine transform. Its channels are nearly uncorrelated on natural pictures, and batch
normalisation gives each the same weight: the effect of whitening, without fitting it to data.
The layers behind it begin as copies of their input, so that depth costs nothing at the start.

References:
    Layout, partial identity initialisation and the large rate for the norms' biases: Jordan, "94% on
    CIFAR-10 in 3.29 seconds on a single GPU", 2024, arXiv:2404.00498. Whitening as a first layer: Page,
    "How to train your ResNet", 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

SMALLEST = 6
"""A side in pixels below which no further halving is made."""


class SmallConv(nn.Module):
    """Normalised pictures [B, 3, H, W] to features [B, F].

    Args:
        size: Side of the pictures, in pixels; decides where the net halves its maps.
        widths: Channels of each group; the last is F.
        stride: Pixels between two patches of the stem, whose side is twice that.
        pool: How the last maps become features: max finds what is small, mean what is all over.
        momentum: Share of a batch in the running statistics of the norms.
        scale: What the features are multiplied with; small features make the first steps gentle.
    """

    def __init__(
        self,
        size: int,
        widths: Sequence[int] = (64, 256, 256),
        stride: int = 1,
        pool: Literal["max", "mean"] = "max",
        momentum: float = 0.1,
        scale: float = 1 / 9,
    ) -> None:
        super().__init__()
        basis = colour_patches(2 * stride)
        self.stem = Stem(basis, stride, momentum)
        side, channels = size // stride - 1, 2 * len(basis)
        groups = []
        for width in widths:
            groups.append(Group(channels, width, halve=side >= SMALLEST, momentum=momentum))
            side, channels = (side // 2 if side >= SMALLEST else side), width
        self.groups = nn.Sequential(*groups)
        self.features, self.scale, self.pool = channels, scale, pool

    def forward(self, image: Tensor) -> Tensor:
        maps: Tensor = self.groups(self.stem(image))
        pooled = maps.amax(dim=(2, 3)) if self.pool == "max" else maps.mean(dim=(2, 3))
        return pooled * self.scale


class Stem(nn.Module):
    """Patches in a fixed basis and its negative, each channel normalised, with a bias that is learnt.

    Args:
        basis: Filters of shape [N, 3, 2 * stride, 2 * stride]; 2 N channels come out.
    """

    basis: Tensor

    def __init__(self, basis: Tensor, stride: int, momentum: float) -> None:
        super().__init__()
        self.register_buffer("basis", torch.cat([basis, -basis]))
        self.stride = stride
        self.norm = BiasNorm(2 * len(basis), momentum=momentum)
        self.act = nn.GELU()

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.act(self.norm(nn.functional.conv2d(image, self.basis, stride=self.stride)))
        return out


class Group(nn.Module):
    """Two convolutions; maps are halved behind the first."""

    def __init__(self, channels: int, width: int, *, halve: bool, momentum: float) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv(channels, width), _conv(width, width)
        self.norm1, self.norm2 = BiasNorm(width, momentum=momentum), BiasNorm(width, momentum=momentum)
        self.pool = nn.MaxPool2d(2) if halve else nn.Identity()
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm1(self.pool(self.conv1(x))))
        out: Tensor = self.act(self.norm2(self.conv2(x)))
        return out


class BiasNorm(nn.BatchNorm2d):
    """Batch normalisation whose bias is learnt and whose weight stays 1: the next convolution can scale."""

    def __init__(self, channels: int, *, momentum: float) -> None:
        super().__init__(channels, momentum=momentum)
        del self.weight
        self.register_buffer("weight", torch.ones(channels), persistent=False)


def colour_patches(side: int) -> Tensor:
    """Orthonormal filters for patches of pixels, float32 of shape [N, 3, side, side]; 12 for a side of 2.

    Products of three colour axes (brightness, red less blue, green less both) and the slower half of the
    patch's cosine waves: close to the principal components of natural pictures.
    """
    colours = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-0.5, 1.0, -0.5]])
    place = torch.arange(side) + 0.5
    waves = torch.stack([torch.cos(torch.pi / side * place * k) for k in range(side)])
    colours, waves = colours / colours.norm(dim=1, keepdim=True), waves / waves.norm(dim=1, keepdim=True)
    slow = [(u, v) for u in range(side) for v in range(side) if side == 2 or u + v <= side // 2]
    pairs = [torch.einsum("ac,i,j->acij", colours, waves[u], waves[v]) for u, v in slow]
    return torch.cat(pairs)


def _conv(channels: int, width: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(conv.weight[:channels])
    return conv
