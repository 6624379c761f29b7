"""torchkiln: from a folder or a table to a trained, tested and served PyTorch model."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = [
    "KilnError",
    "Run",
    "diagnose",
    "export",
    "fit",
    "guard",
    "lint",
    "load",
    "plan",
    "predict",
    "serve",
    "test",
]
"""What most programs use; the other verbs of the command line are found by their names too."""

_HOMES = {
    "KilnError": "torchkiln.errors",
    "callbacks": "torchkiln.stages.guarding",
    "guard": "torchkiln.stages.guarding",
    "serve": "torchkiln.serving.start",
    **dict.fromkeys(("compare", "init", "profile", "ready", "schema", "verify"), "torchkiln.api"),
}
"""Names that live elsewhere than in `api`, or that `__all__` does not list."""


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that `import torchkiln` is quick."""
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("torchkiln")
    if name not in __all__ and name not in _HOMES:
        raise AttributeError(f"module 'torchkiln' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, "torchkiln.api")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_HOMES, "__version__"})
