"""Nets by name share one shape: normalize, backbone, head; weights and heads go by the same words for all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models as published

from torchkiln.errors import ModelError
from torchkiln.models import images
from torchkiln.models.images import PictureNet, build
from torchkiln.models.reach import OFFLINE
from torchkiln.recipe.schema import Model

QUICK = {"widths": [8, 8, 8]}


def net_of(name: str | None = None, classes: int = 3, size: int = 32, **more: Any) -> PictureNet:
    return build(Model(**{"name": name, "pretrained": False, **more}), classes, size)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(OFFLINE, "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))


@pytest.mark.parametrize(
    ("name", "size"),
    [(None, 16), ("small_conv", 32), ("resnet18", 64), ("mobilenet_v3_small", 64), ("efficientnet_b0", 32),
     ("vit_b_16", 32), ("squeezenet1_1", 64), ("densenet121", 32), ("googlenet", 64)],
)  # fmt: skip
def test_every_net_has_a_backbone_and_a_head(name: str | None, size: int) -> None:
    net = net_of(name, size=size)
    picture = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    out = net.train()(picture)
    assert out.shape == (2, 3)
    out.sum().backward()
    assert isinstance(net.head, nn.Linear)
    assert {n.split(".")[0] for n, _ in net.named_parameters()} == {"backbone", "head"}
    assert {p.numel() for p in net.head.parameters()} == {3 * net.head.in_features, 3}


def test_timm_s_nets_too() -> None:
    pytest.importorskip("timm")
    net = net_of("timm:resnet10t", size=64)
    assert net(torch.zeros(2, 3, 64, 64)).shape == (2, 3)
    fixed = net_of("timm:vit_tiny_patch16_224", size=32)
    assert fixed(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


def test_uint8_and_float_pictures_mean_the_same() -> None:
    net = net_of(args=QUICK).eval()
    picture = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(net(picture), net(picture.float()))
    grey = torch.full((1, 3, 4, 4), 255 * 0.485)
    assert abs(float(net.normalize(grey)[0, 0, 0, 0])) < 1e-4


class Wide(nn.Module):
    """A head of the person's own."""

    def __init__(self, in_features: int, out_features: int, hidden: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(in_features, hidden), nn.ReLU(), nn.Linear(hidden, out_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layers(x)
        return out


@pytest.mark.parametrize("name", ["small_conv", "resnet18"])
def test_a_head_of_ones_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchkiln.models.adapt.load_object", lambda path, where: Wide)
    net = net_of(name, head={"class_path": "my.Wide", "init_args": {"hidden": 5}})
    assert isinstance(net.head, Wide)
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_of_the_same_net_from_a_file(suffix: str, tmp_path: Path) -> None:
    theirs = published.resnet18(num_classes=7)
    path = tmp_path / f"weights{suffix}"
    save_file(theirs.state_dict(), path) if suffix == ".safetensors" else torch.save(theirs.state_dict(), path)
    net = net_of("resnet18", size=64, pretrained=str(path))
    assert torch.equal(net.backbone.get_parameter("conv1.weight"), theirs.conv1.weight)
    assert net.head.out_features == 3  # their head had 7 classes


def test_weights_of_ones_own_run_bring_the_head(tmp_path: Path) -> None:
    first = net_of(args=QUICK)
    torch.save({"state_dict": first.state_dict()}, tmp_path / "run.pth")
    second = net_of(args=QUICK, pretrained=str(tmp_path / "run.pth"))
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("code ran",))


def test_a_file_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ModelError, match="no file of weights that can be read safely"):
        net_of(args=QUICK, pretrained=str(tmp_path / "evil.pth"))
    assert "code ran" not in capsys.readouterr().out


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    torch.save(published.resnet34().state_dict(), tmp_path / "r34.pth")
    with pytest.raises(ModelError, match=r"does not fit the net: \d+ of \d+ tensors .* such as"):
        net_of(args=QUICK, pretrained=str(tmp_path / "r34.pth"))
    with pytest.raises(ModelError, match="there is no file"):
        net_of(args=QUICK, pretrained=str(tmp_path / "none.pth"))
    (tmp_path / "junk.pth").write_text("junk")
    with pytest.raises(ModelError, match="no file of weights"):
        net_of(args=QUICK, pretrained=str(tmp_path / "junk.pth"))


@pytest.mark.parametrize(
    ("model", "size", "words"),
    [
        ({"name": "resnet81"}, 32, ["model.name", "'resnet81'", "did you mean 'resnet18'"]),
        (
            {"name": "small_conv", "args": {"width": [8]}},
            32,
            ["model.args", "'width'", "did you mean 'widths'"],
        ),
        ({"name": "resnet18", "args": {"depth": 3}}, 32, ["model.args", "resnet18", "'depth'"]),
        ({"name": "inception_v3"}, 32, ["data.image_size", "inception_v3", "32 x 32"]),
        ({"name": "small_conv", "pretrained": True}, 32, ["model.pretrained", "small_conv"]),
    ],
)
def test_what_does_not_fit_is_named(model: dict[str, Any], size: int, words: list[str]) -> None:
    with pytest.raises(ModelError) as caught:
        net_of(size=size, **model)
    assert all(w in str(caught.value) for w in words), str(caught.value)


def test_weights_that_cannot_be_had_are_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **kwargs: Any) -> Any:
        raise OSError("Name or service not known")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    with pytest.raises(ModelError, match=r"published weights of resnet18 cannot be had .* pretrained: false"):
        net_of("resnet18", pretrained=True)


def test_weights_in_reach_are_those_on_this_machine(tmp_path: Path) -> None:
    assert not images.weights_in_reach("resnet18")
    url = published.ResNet18_Weights.DEFAULT.url
    folder = tmp_path / "hub" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / url.rsplit("/", 1)[-1]).touch()
    assert images.weights_in_reach("resnet18")
    assert not images.weights_in_reach("small_conv")
    assert not images.weights_in_reach("no_such_net")
