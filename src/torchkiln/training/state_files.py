"""A tree of tensors and plain data as two files without pickle: safetensors and JSON."""

from __future__ import annotations

import json
import math
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from torchkiln.errors import RunError, RunFailed

ALIASES = "aliases"
"""Key of a file's metadata: names of tensors that are not stored, and the one that each is the same as."""


class Copies:
    """Copies of named tensors, on the CPU, that later changes do not reach.

    Tensors that are one and the same in memory, such as tied weights, are copied and written once.

    Args:
        live: Tensors by name.

    Raises:
        RunFailed: A tensor is sparse or quantized, which safetensors does not hold; names it.
    """

    def __init__(self, live: Mapping[str, Tensor]) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.aliases: dict[str, str] = {}
        first: dict[Any, str] = {}
        for name, tensor in live.items():
            if tensor.layout != torch.strided or tensor.is_quantized:
                raise RunFailed(f"the state of the run holds a sparse or quantized tensor at {name}, which cannot be "
                                "saved; make it dense")  # fmt: skip
            same = first.setdefault(_identity(tensor, name), name)
            if same == name:
                self.tensors[name] = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())
            else:
                self.aliases[name] = same

    @property
    def bytes(self) -> int:
        """Size of what is written, but for a short head."""
        return sum(t.numel() * t.element_size() for t in self.tensors.values())

    def write(self, file: Path) -> None:
        """Write a safetensors file, which also tells of the aliases."""
        save_file(self.tensors, file, {ALIASES: json.dumps(self.aliases)} if self.aliases else None)


class Snapshot:
    """A copy of a tree that later changes do not reach.

    Args:
        tree: Nested dicts, lists, tuples, plain data and tensors.
        name: Of the files, and what places in the tree start with.

    Raises:
        RunFailed: The tree holds something that is neither tensor nor plain data; names its place.
    """

    def __init__(self, tree: Any, name: str) -> None:
        self.name = name
        live: dict[str, Tensor] = {}
        self._plain = json.dumps(_pack(tree, name, live))
        self._copies = Copies(live)

    @property
    def bytes(self) -> int:
        """Size of what is written, but for a short head."""
        return self._copies.bytes + len(self._plain)

    def write(self, folder: Path) -> None:
        """Write NAME.safetensors and NAME.json into `folder`."""
        self._copies.write(folder / f"{self.name}.safetensors")
        (folder / f"{self.name}.json").write_text(self._plain)


def load(folder: Path, name: str) -> Any:
    """The tree that `Snapshot` wrote, on the CPU.

    Raises:
        RunError: A file is missing or damaged.
    """
    file = folder / f"{name}.json"
    try:
        plain = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read ({error})") from error
    return _unpack(plain, load_tensors(folder / f"{name}.safetensors"))


def load_tensors(file: Path) -> dict[str, Tensor]:
    """Tensors by name, aliases included.

    Raises:
        RunError: The file is missing or damaged.
    """
    try:
        with safe_open(file, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  # it is no dict
            aliases = json.loads((stored.metadata() or {}).get(ALIASES, "{}"))
        return tensors | {name: tensors[same] for name, same in aliases.items()}
    except Exception as error:  # safetensors raises its own type, OSError and others
        raise RunError(f"{file} cannot be read ({error})") from error


def _identity(tensor: Tensor, name: str) -> Any:
    """Equal for tensors that are the same elements of the same memory."""
    if not tensor.numel():
        return name
    return tensor.device, tensor.dtype, tensor.data_ptr(), tensor.shape, tensor.stride()


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
        case np.ndarray() if value.dtype.kind in "biuf":
            tensors[where] = torch.from_numpy(np.ascontiguousarray(value))
            return {"$": "array", "at": where}
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
        case "array":
            return tensors[value["at"]].numpy()
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
