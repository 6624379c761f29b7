"""A residual net of nine layers for pictures of 32 pixels: Page, "How to train your ResNet", 2018."""

import torch
from torch import Tensor, nn


def layer(inputs: int, outputs: int, pool: bool = False) -> nn.Sequential:
    """Convolution, norm and ReLU; `pool` halves the sides."""
    parts = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*parts, *([nn.MaxPool2d(2)] if pool else []))


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(layer(width, width), layer(width, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


class Net(nn.Module):
    """Pictures [B, 3, 32, 32] to outputs [B, classes].

    Args:
        classes: How many.
        width: Channels of the first layer.
        scale: What the outputs are multiplied with; it keeps the first steps gentle.
    """

    def __init__(self, classes: int = 10, width: int = 64, scale: float = 0.125) -> None:
        super().__init__()
        self.scale = scale
        self.layers = nn.Sequential(
            layer(3, width),
            layer(width, 2 * width, pool=True), Residual(2 * width),
            layer(2 * width, 4 * width, pool=True),
            layer(4 * width, 8 * width, pool=True), Residual(8 * width),
        )  # fmt: skip
        self.head = nn.Linear(8 * width, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.amax(self.layers(x), dim=(2, 3))) * self.scale
        return out
