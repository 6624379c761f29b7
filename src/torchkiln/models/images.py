"""Nets for pictures: one of our own for small ones, torchvision's by name, timm's as `timm:NAME`.

Each is a `PictureNet` of `normalize`, `backbone` and `head`, so that freezing, parameter groups and a new
head go by the same names for all. They take pictures [B, 3, H, W] of uint8, or of float in 0 to 255.
"""

from __future__ import annotations

import inspect
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

from torchkiln.errors import MissingExtra, ModelError
from torchkiln.models import adapt
from torchkiln.models.reach import answers
from torchkiln.models.small_conv import SmallConv
from torchkiln.recipe.schema import Model
from torchkiln.registry import did_you_mean

OWN = "small_conv"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pictures in 0 to 1: what published weights were trained with, and near any photos'."""


class Normalize(nn.Module):
    """Pictures in 0 to 255 to zero mean and unit deviation by channel, in float32.

    Args:
        mean, std: By channel, for pictures in 0 to 1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> None:
        super().__init__()
        # Not part of the weights: they belong to the code of the net, not to what was learnt.
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1) * 255, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return (image.float() - self.mean) / self.std


class PictureNet(nn.Module):
    """Pictures to one number a class.

    Args:
        backbone: Normalised pictures [B, 3, H, W] to features [B, F].
        head: Features to outputs [B, classes].
        normalize: What comes before the backbone.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, normalize: Normalize | None = None) -> None:
        super().__init__()
        self.normalize = normalize or Normalize()
        self.backbone, self.head = backbone, head

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.head(self.features(image))
        return out

    def features(self, image: Tensor) -> Tensor:
        """What the head is given, [B, F]."""
        out: Tensor = self.backbone(self.normalize(image))
        return out


def build(model: Model, classes: int, size: int) -> PictureNet:
    """The net that a recipe names, with its weights and head.

    Args:
        model: `pretrained` is true, false, or a file of weights; auto counts as false.
        classes: Outputs of the net.
        size: Side of the pictures, in pixels.

    Raises:
        ModelError: The name, an argument, the weights or the size of the pictures do not fit.
        MissingExtra: It is a net of timm, which is not installed.
    """
    name = model.name or OWN
    published = model.pretrained is True
    if name == OWN:
        if published:
            raise ModelError(f"model.pretrained: nobody published weights for {OWN}; name a file or say false")
        net = _own(model.args, classes, size)
    elif name.startswith("timm:"):
        net = _timm(name.removeprefix("timm:"), model.args, classes, size, published)
    else:
        net = _torchvision(name, model.args, classes, size, published)
    if isinstance(model.pretrained, str) and model.pretrained != "auto":
        load_weights(net, Path(model.pretrained))
    if model.head is not None:
        net.head = adapt.build_head(model.head, _features(net, name, size), classes)
    return net


def names() -> list[str]:
    """Nets that need no further package."""
    return [OWN, *torchvision.models.list_models(module=torchvision.models)]


def weights_in_reach(name: str) -> bool:
    """Whether published weights of a net are on this machine or can be downloaded now."""
    if name == OWN:
        return False
    if name.startswith("timm:"):
        return answers("https://huggingface.co")
    if name not in names():
        return False
    weights = torchvision.models.get_model_weights(name).DEFAULT
    cached = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(weights.url).path).name)
    return cached.exists() or answers(weights.url)


def load_weights(net: PictureNet, path: Path) -> None:
    """Fill the net from a file: its own weights, or those of the same net without our naming.

    The head is filled where it fits, and left as it is where it has another number of classes.

    Raises:
        ModelError: The file is missing, is no file of tensors, or lacks tensors of the backbone.
    """
    tensors = _read_tensors(path)
    if not any(name.startswith("backbone.") for name in tensors):
        tensors = {f"backbone.{name}": t for name, t in tensors.items()}
    wanted = net.state_dict()
    fits = {n: t for n, t in tensors.items() if n in wanted and wanted[n].shape == t.shape}
    lacking = [n for n in wanted if n.startswith("backbone.") and n not in fits]
    if lacking:
        raise ModelError(
            f"model.pretrained: {path} does not fit the net: {len(lacking)} of {len(wanted)} tensors are "
            f"missing or of another shape, such as {lacking[0].removeprefix('backbone.')!r}"
        )
    net.load_state_dict(fits, strict=False)


def _own(args: Mapping[str, Any], classes: int, size: int) -> PictureNet:
    known = [p for p in inspect.signature(SmallConv).parameters if p != "size"]
    for arg in args:
        if arg not in known:
            raise ModelError(f"model.args: {OWN} takes no {arg!r}{did_you_mean(arg, known)}")
    backbone = SmallConv(size, **args)
    head = nn.Linear(backbone.features, classes)
    nn.init.zeros_(head.bias)
    return PictureNet(backbone, head)


def _torchvision(name: str, args: Mapping[str, Any], classes: int, size: int, published: bool) -> PictureNet:
    if name not in names():
        raise ModelError(f"model.name: unknown net {name!r}{did_you_mean(name, names())}; "
                         "timm's nets are called timm:NAME")  # fmt: skip
    made: Callable[..., nn.Module] = torchvision.models.get_model_builder(name)
    sized: dict[str, Any] = {"image_size": size} if name.startswith("vit_") and not published else {}
    if name in ("googlenet", "inception_v3"):
        sized["init_weights"] = False  # theirs takes half a minute, as they warn themselves
    backbone = _made(name, lambda: made(weights="DEFAULT" if published else None, **{**sized, **args}))
    _drop_auxiliary(backbone)
    if name.startswith("squeezenet"):  # its last layer is a convolution
        backbone.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    else:
        _cut_last_linear(backbone, name)
    return _with_head(backbone, name, classes, size, Normalize())


def _timm(name: str, args: Mapping[str, Any], classes: int, size: int, published: bool) -> PictureNet:
    try:
        import timm
    except ImportError as error:
        raise MissingExtra("timm", "timm") from error
    if not timm.is_model(name.split(".")[0]):
        raise ModelError(f"model.name: timm has no {name!r}{did_you_mean(name, timm.list_models())}")

    def make() -> nn.Module:
        config = timm.get_pretrained_cfg(name)
        sized = {"img_size": size} if config is not None and config.fixed_input_size else {}
        net: nn.Module = timm.create_model(name, pretrained=published, num_classes=0, **{**sized, **args})
        return net

    backbone = _made(f"timm:{name}", make)
    config: Mapping[str, Any] = getattr(backbone, "pretrained_cfg", {})
    normalize = Normalize(tuple(config.get("mean", MEAN)), tuple(config.get("std", STD)))
    return _with_head(backbone, f"timm:{name}", classes, size, normalize)


def _made(name: str, make: Callable[[], nn.Module]) -> nn.Module:
    """What `make` gives, its troubles put into a sentence."""
    try:
        return make()
    except TypeError as error:
        raise ModelError(f"model.args: {name} does not take them: {error}") from error
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "hash" not in str(error) and "download" not in str(error):
            raise ModelError(f"model.args: {name} cannot be made with them: {error}") from error
        raise ModelError(
            f"model.pretrained: the published weights of {name} cannot be had ({error}); with pretrained: "
            "false it is trained from nothing, or name a file of weights"
        ) from error


def _with_head(backbone: nn.Module, name: str, classes: int, size: int, normalize: Normalize) -> PictureNet:
    net = PictureNet(backbone, nn.Identity(), normalize)
    net.head = nn.Linear(_features(net, name, size), classes)
    return net


def _features(net: PictureNet, name: str, size: int) -> int:
    """Length of the backbone's output, found by one pass over grey pictures."""
    training = net.training
    net.eval()
    try:
        with torch.no_grad():
            out = net.backbone(net.normalize(torch.full((1, 3, size, size), 128.0)))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"data.image_size: {name} cannot take pictures of {size} x {size}: {reason}") from error
    finally:
        net.train(training)
    return int(out.shape[-1])


def _cut_last_linear(net: nn.Module, name: str) -> None:
    """Put nothing in the place of the layer that gives the classes."""
    linear = [n for n, m in net.named_modules() if isinstance(m, nn.Linear)]
    if not linear:
        raise ModelError(f"model.name: {name} has no linear layer at its end to give the classes")
    parent, _, attribute = linear[-1].rpartition(".")
    setattr(net.get_submodule(parent), attribute, nn.Identity())


def _drop_auxiliary(net: nn.Module) -> None:
    """Leave out the side outputs of googlenet and inception_v3, which only add to the loss."""
    if hasattr(net, "aux_logits"):
        net.aux_logits = False  # type: ignore[assignment]
        for side in ("aux1", "aux2", "AuxLogits"):
            if hasattr(net, side):
                setattr(net, side, None)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ModelError(f"model.pretrained: there is no file {path}; give true, false, auto or a file of weights")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            unpacked = sum(entry.file_size for entry in packed.infolist())
        if unpacked > path.stat().st_size:
            raise ModelError(f"model.pretrained: {path} is packed and would take {unpacked:,} bytes; torch stores "
                             "weights unpacked, so this is no file of weights to trust")  # fmt: skip
    try:
        found = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # both libraries raise many kinds for a file that is none of theirs
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"model.pretrained: {path} is no file of weights that can be read safely: {reason}") from error
    for inner in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(inner), dict):
            found = found[inner]
    if not isinstance(found, dict) or not all(isinstance(t, Tensor) for t in found.values()):
        raise ModelError(f"model.pretrained: {path} holds no table of named tensors")
    return {name.removeprefix("module."): t for name, t in found.items()}
