"""What was at hand where a program failed: shapes, types and devices, read from the frames and nothing computed.

It needs the standard library alone and imports nothing of ours, as it also runs inside other people's programs.
"""

from __future__ import annotations

import ast
import atexit
import json
import linecache
import os
import sys
import traceback
from types import FrameType, TracebackType
from typing import Any

OURS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
FOREIGN = (
    "site-packages", "dist-packages", "/lib/python3", "\\lib\\", "<frozen", "torchinductor_", "/torch/nn/modules/",
    "/torch/nn/functional.py", "/torch/optim/", "/torch/autograd/", "/torch/_", "/torch/utils/data/", OURS,
)  # fmt: skip
"""What stands in the path of code that is not the person's own."""
MOST_FRAMES, MOST_VALUES = 60, 8
FACTS = "TORCHKILN_FACTS"
"""The variable that names the folder where a program leaves what it knew when it failed."""


def is_own(file: str) -> bool:
    """Whether a file is the person's own code, by its path."""
    return not any(mark in file.replace("\\Lib\\", "\\lib\\") for mark in FOREIGN)


def of_error(error: BaseException) -> list[dict[str, Any]]:
    """An exception and those before it, from the first cause to the last.

    Returns:
        Of each its `kind`, `text`, `frames` (with `file`, `line`, `function`, `code`, `values`) and `link`, which says
        how it follows from the one before: cause, during, or None for the first.
    """
    chain: list[dict[str, Any]] = []
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        before = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        link = None if before is None else "cause" if one.__cause__ is not None else "during"
        kind = type(one).__qualname__ if type(one).__module__ == "builtins" else _full(type(one))
        chain.append({"kind": kind, "text": _text(one), "frames": _frames(one.__traceback__), "link": link})
        one = before
    return chain[::-1]


def _full(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _text(error: BaseException) -> str:
    try:
        return str(error)[:20_000]
    except Exception:
        return ""


def _frames(tb: TracebackType | None) -> list[dict[str, Any]]:
    walked = list(traceback.walk_tb(tb))
    layer = _layer(walked)
    found = []
    for frame, line in walked[-MOST_FRAMES:]:
        file = frame.f_code.co_filename
        code = linecache.getline(file, line, frame.f_globals).strip()
        own = is_own(file)
        found.append({"file": file, "line": line, "function": frame.f_code.co_name, "code": code,
                      "values": {**_values(frame, code), **layer} if own else {}})  # fmt: skip
    return found


def _layer(walked: list[tuple[FrameType, int]]) -> dict[str, Any]:
    """The innermost layer whose `forward` ran, by its name in the person's own code: `self.net.3`."""
    inner = [f.f_locals.get("self") for f, _ in walked if f.f_code.co_name == "forward"]
    layers = [one for one in inner if _kind(one) == "module"]
    owners = [(name, value) for f, _ in walked if is_own(f.f_code.co_filename) for name, value in f.f_locals.items()
              if _kind(value) == "module"]  # fmt: skip
    try:
        for name, owner in reversed(owners):
            for path, one in owner.named_modules():
                if path and one is layers[-1]:
                    return {f"{name}.{path}": {**(described(one) or {}), "inner": True}}
    except Exception:
        return {}
    return {}


def _values(frame: FrameType, code: str) -> dict[str, Any]:
    """Names in the failing line first, then other tensors; what a name leads to is looked up and nothing is called."""
    found: dict[str, Any] = {}
    for path in [*_paths(code), *frame.f_locals]:
        if len(found) >= MOST_VALUES:
            break
        value = described(_lookup(frame, path))
        if value is not None and path not in found:
            found[path] = value
    return found


def _paths(code: str) -> list[str]:
    """`self.fc`, `x` in the order of a line; empty where it cannot be parsed alone."""
    for text in (code, f"{code} pass", f"({code})", code.rstrip(",")):
        try:
            tree = ast.parse(text.strip())
        except (SyntaxError, ValueError):
            continue
        names = [ast.unparse(n) for n in ast.walk(tree) if isinstance(n, (ast.Name, ast.Attribute))]
        plain = [n for n in dict.fromkeys(names) if "(" not in n and "[" not in n]
        return sorted(plain, key=lambda n: -n.count("."))
    return []


def _lookup(frame: FrameType, path: str) -> Any:
    """What a dotted name stands for, by dictionaries alone, as a property would run code."""
    first, *rest = path.split(".")
    value = frame.f_locals.get(first, frame.f_globals.get(first))
    for name in rest:
        inside = getattr(value, "__dict__", {})
        places = (inside, inside.get("_modules") or {}, inside.get("_parameters") or {}, inside.get("_buffers") or {})
        value = next((place[name] for place in places if isinstance(place, dict) and name in place), None)
    return value


def _kind(value: Any) -> str:
    """tensor, module, array, optimizer or nothing, without an import."""
    names = {_full(base) for base in type(value).__mro__}
    if "torch.Tensor" in names:
        return "tensor"
    if "torch.nn.modules.module.Module" in names:
        return "module"
    if "numpy.ndarray" in names:
        return "array"
    return ""


def described(value: Any) -> dict[str, Any] | None:
    """A tensor, array or layer in a few words; None for all else."""
    kind = _kind(value)
    try:
        if kind == "tensor":
            return {"is": "tensor", "shape": list(value.shape), "dtype": str(value.dtype).replace("torch.", ""),
                    "device": str(value.device), "grad": bool(value.requires_grad),
                    "graph": value.grad_fn is not None}  # fmt: skip
        if kind == "array":
            return {"is": "array", "shape": list(value.shape), "dtype": str(value.dtype)}
        if kind == "module":
            held = described(next(iter(value.parameters()), None)) or {}
            said = f"{type(value).__name__}({value.extra_repr()})"
            return {"is": "module", "said": said, "dtype": held.get("dtype"), "device": held.get("device")}
    except Exception:  # a person's own class may answer as it likes
        return None
    if isinstance(value, list) and value and _kind(value[0]) == "tensor":
        return {"is": "list", "length": len(value), "graph": value[0].grad_fn is not None}
    return None


def watch() -> None:
    """Have this process leave its facts in the folder that FACTS names, should it end by an exception."""
    folder = os.environ.get(FACTS)
    if folder:
        atexit.register(_leave, folder)


def _leave(folder: str) -> None:
    """The interpreter keeps the exception that ended it; no hook of the program's is touched."""
    error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    if error is None:
        return
    try:
        with open(os.path.join(folder, f"{os.getpid()}.json"), "w", encoding="utf-8") as file:
            json.dump({"rank": os.environ.get("RANK"), "chain": of_error(error)}, file)
    except Exception:  # a program's end is its own, whatever we could not write
        return
