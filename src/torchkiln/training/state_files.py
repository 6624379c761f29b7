"""A tree of tensors and plain data as two files without pickle: safetensors and JSON."""

from __future__ import annotations

import json
import math
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from torchkiln.errors import RunError, RunFailed


def save(tree: Any, folder: Path, name: str) -> None:
    """Write NAME.safetensors and NAME.json into `folder`.

    Raises:
        RunFailed: The tree holds something that is neither tensor nor plain data; names its place.
    """
    tensors: dict[str, Tensor] = {}
    plain = _pack(tree, name, tensors)
    save_tensors(tensors, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(plain))


def load(folder: Path, name: str) -> Any:
    """The tree that `save` wrote, on the CPU."""
    plain = json.loads((folder / f"{name}.json").read_text())
    return _unpack(plain, load_tensors(folder / f"{name}.safetensors"))


def save_tensors(tensors: dict[str, Tensor], file: Path) -> None:
    """Write tensors; those that share memory are written each for itself."""
    save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, file)


def load_tensors(file: Path) -> dict[str, Tensor]:
    """Tensors by name.

    Raises:
        RunError: The file is missing or damaged.
    """
    try:
        return dict(load_file(file))
    except Exception as error:  # safetensors raises its own type, OSError and others
        raise RunError(f"{file} cannot be read ({error})") from error


def _pack(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    """JSON-ready data, with a tag where JSON lacks the type; tensors go to `tensors` by their place."""
    match value:
        case Tensor():
            tensors[where] = value
            return {"$": "tensor", "at": where}
        case None | bool() | str():
            return value
        case np.generic():
            return _pack(value.item(), where, tensors)
        case int():
            return value
        case float():
            return value if math.isfinite(value) else {"$": "float", "is": repr(value)}
        case tuple():
            return {"$": "tuple", "is": [_pack(v, f"{where}.{i}", tensors) for i, v in enumerate(value)]}
        case list():
            return [_pack(v, f"{where}.{i}", tensors) for i, v in enumerate(value)]
        case dict() | OrderedDict() | defaultdict():
            pairs = [[_pack(k, where, tensors), _pack(v, f"{where}.{k}", tensors)] for k, v in value.items()]
            return {"$": "dict", "is": pairs}
        case torch.dtype() | torch.device():
            return {"$": type(value).__name__, "is": str(value).removeprefix("torch.")}
    raise RunFailed(f"the state of the run holds a {type(value).__name__} at {where}, which cannot be saved without "
                    "pickle; a callback or optimizer must keep tensors and plain data only")  # fmt: skip


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    match value["$"]:
        case "tensor":
            return tensors[value["at"]]
        case "float":
            return float(value["is"])
        case "tuple":
            return tuple(_unpack(v, tensors) for v in value["is"])
        case "dict":
            return {_unpack(k, tensors): _unpack(v, tensors) for k, v in value["is"]}
        case "dtype":
            return getattr(torch, value["is"])
        case "device":
            return torch.device(value["is"])
    raise RunError(f"unknown tag {value['$']!r} in a checkpoint; it was written by a newer torchkiln")
