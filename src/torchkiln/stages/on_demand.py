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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torchkiln.errors import MissingExtra, RunFailed
from torchkiln.runs import environment
from torchkiln.runs.directory import FULL_DISK, RECIPE

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


@contextmanager
def training_extra() -> Iterator[None]:
    """Imports what trains; a missing torch or Lightning is answered with the extra that brings it."""
    environment.spare_waiting()
    try:
        load_training()
        yield
    except ModuleNotFoundError as error:
        brings = {"torch": "train", "torchvision": "train", "lightning": "train", "sklearn": "train",
                  "psutil": "train", "safetensors": "train", "tokenizers": "train", "transformers": "text",
                  "timm": "timm", "onnx": "export", "onnxscript": "export"}  # fmt: skip
        name = (error.name or "").partition(".")[0]
        if name not in brings:
            raise
        raise MissingExtra(name, brings[name]) from error


@contextmanager
def full_disk(run: Path) -> Iterator[None]:
    """One sentence where the disk is full, with how to go on."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        where = f" at {error.filename}" if error.filename else ""
        onward = f"torchkiln fit --resume {run}" if (run / RECIPE).is_file() else "start again"
        raise RunFailed(f"the disk is full{where}; make room, then: {onward}") from error
