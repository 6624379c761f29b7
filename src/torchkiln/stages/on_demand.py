"""What trains, imported as it is needed and no slower than it must be.

torchmetrics comes in pieces: of all that it loads at once, Lightning needs two classes. The package's own `__init__`
imports every metric it has, and with them transformers, torchvision and scipy where they are installed: two of the
five seconds that importing Lightning takes.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import logging
import sys
from types import ModuleType
from typing import Any

PACKAGE = "torchmetrics"
PIECES = {"Metric": "metric", "MetricCollection": "collections", "__version__": "__about__"}
"""What is asked of the package by Lightning, and the module that has it."""


class InPieces(ModuleType):
    """A package whose `__init__` runs when something is asked of it that `PIECES` does not name."""

    _logger = logging.getLogger(PACKAGE)

    def __getattr__(self, name: str) -> Any:
        if name in PIECES:
            return getattr(importlib.import_module(f"{PACKAGE}.{PIECES[name]}"), name)
        if name.startswith("__"):
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]
        loader = self.__spec__.loader if self.__spec__ else None
        assert loader is not None
        loader.exec_module(self)
        return getattr(self, name)


def torchmetrics_in_pieces() -> None:
    """Let torchmetrics be loaded piece by piece, if it is not loaded yet.

    Whoever imports it afterwards notices nothing: the rest comes when it is first asked for. A version that does
    not come apart this way is loaded whole, as ever.
    """
    spec = importlib.util.find_spec(PACKAGE) if PACKAGE not in sys.modules else None
    if spec is None:
        return
    package = importlib.util.module_from_spec(spec)
    package.__class__ = InPieces
    sys.modules[PACKAGE] = package
    try:
        importlib.import_module(f"{PACKAGE}.utilities")  # before `metric`: the two import one another
        importlib.import_module(f"{PACKAGE}.collections")
    except (ImportError, AttributeError):
        for name in [n for n in sys.modules if n.partition(".")[0] == PACKAGE]:
            del sys.modules[name]


def load_training() -> None:
    """Import torch, Lightning and what stands on them, with Python's collector at rest.

    Imports make objects by the hundred thousand and next to no garbage, which a collector that looks them all through
    again and again finds out at a third of the time.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        torchmetrics_in_pieces()  # before Lightning is imported
        from torchkiln.stages import from_parts, from_recipe, use  # noqa: F401
    finally:
        if collects:
            gc.enable()
