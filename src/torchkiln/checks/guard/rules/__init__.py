"""The rules of guard: one module each, its page at its head; `Check` watches, `preflight` tries one batch."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType


def modules() -> list[ModuleType]:
    """All of them, in the order of their ids."""
    names = sorted(file.stem for file in Path(__file__).parent.glob("r[0-9][0-9][0-9]_*.py"))
    return [importlib.import_module(f"{__name__}.{name}") for name in names]


def watching() -> list[type]:
    """The checks of a program that runs."""
    return [module.Check for module in modules() if hasattr(module, "Check")]
