"""Our own net works at any size of small picture, and begins as it is meant to."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torchkiln.models.small_conv import SmallConv, colour_patches


@pytest.mark.parametrize("size", [4, 8, 16, 28, 32, 50, 64])
def test_any_size_gives_features_and_gradients(size: int) -> None:
    net = SmallConv(size, widths=(8, 16, 16))
    out = net(torch.randn(3, 3, size, size))
    assert out.shape == (3, net.features) == (3, 16)
    out.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("size", [20, 26, 32, 40])
def test_a_net_laid_out_for_32_pixels_takes_others(size: int) -> None:
    assert SmallConv(32, widths=(8, 8, 8))(torch.randn(2, 3, size, size)).shape == (2, 8)


def test_a_stride_makes_larger_pictures_as_cheap_as_small_ones() -> None:
    net = SmallConv(64, widths=(8, 8, 8), stride=2)
    assert net.stem(torch.randn(1, 3, 64, 64)).shape == (1, 36, 31, 31)
    assert net(torch.randn(2, 3, 64, 64)).shape == (2, 8)


def test_small_pictures_are_not_halved_to_nothing() -> None:
    halvings = {s: sum(isinstance(m, nn.MaxPool2d) for m in SmallConv(s).modules()) for s in (6, 8, 16, 32)}
    assert halvings == {6: 0, 8: 1, 16: 2, 32: 3}


@pytest.mark.parametrize(("side", "filters"), [(2, 12), (4, 18), (8, 45)])
def test_the_first_basis_is_orthonormal(side: int, filters: int) -> None:
    basis = colour_patches(side).flatten(1)
    assert torch.allclose(basis @ basis.T, torch.eye(filters), atol=1e-5)


def test_the_first_basis_is_fixed() -> None:
    net = SmallConv(32)
    assert "stem.basis" not in dict(net.named_parameters())
    assert "stem.basis" in net.state_dict()


def test_layers_begin_as_copies_of_their_input() -> None:
    net = SmallConv(32, widths=(24, 24, 24))
    maps = torch.randn(2, 24, 8, 8)
    assert torch.allclose(net.groups[0].conv2(maps), maps)


def test_norms_learn_a_bias_alone() -> None:
    names = {n.rsplit(".", 1)[-1] for n, _ in SmallConv(16).named_parameters() if "norm" in n}
    assert names == {"bias"}


def test_a_colour_without_variation_stays_finite() -> None:
    grey = torch.randn(4, 1, 8, 8).expand(4, 3, 8, 8)
    assert SmallConv(8)(grey).isfinite().all()
