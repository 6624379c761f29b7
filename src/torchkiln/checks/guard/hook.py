"""Starts a watch in a program from outside, the moment that it imports torch; before that nothing heavy is imported."""

from __future__ import annotations

import atexit
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchkiln.checks.finding import Finding

FOLDER = "TORCHKILN_GUARD"
"""The variable that names the folder where each process of a program writes what was found in it."""


class WhenTorchComes(importlib.abc.MetaPathFinder):
    """Finds torch as it would have been found, and begins to watch when it is there."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenWatch(spec.loader)
        return spec


class _ThenWatch(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader) -> None:
        self.loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        module.__loader__ = self.loader
        self.loader.exec_module(module)
        begin(Path(os.environ[FOLDER]))


def wait() -> None:
    """Begin when torch is imported."""
    sys.meta_path.insert(0, WhenTorchComes())


def begin(folder: Path) -> None:
    """Watch this process to its end; a fault of the guard's own is written down and is none of the program's."""
    try:
        from torchkiln.checks.guard.patches import Patches
        from torchkiln.checks.guard.watch import Watch

        written = Written(folder)
        watch = Watch(written.finding)
        watch.note = written.note
        patches = Patches(watch)
        patches.__enter__()
    except Exception as error:
        _write(folder, {"fault": f"{type(error).__name__}: {error}"})
        return
    _write(folder, {"begun": True})
    os.register_at_fork(after_in_child=lambda: setattr(watch, "thread", -1))

    def end() -> None:
        if os.getpid() == watch.process:
            patches.__exit__()
            written.end(watch)

    atexit.register(end)


class Written:
    """The file of this process, a JSON value a line.

    Args:
        folder: Where it stands.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def finding(self, finding: Finding) -> None:
        """Add a finding."""
        _write(self.folder, {"finding": finding.as_json()})

    def note(self, noted: dict[str, Any]) -> None:
        """Add what the launcher compares."""
        _write(self.folder, {"note": noted})

    def end(self, watch: Any) -> None:
        """Add how far it was watched."""
        faults = [f"{name}: {type(error).__name__}: {error}" for name, error in watch.broken]
        _write(self.folder, {"end": {"steps": watch.step, "rules_left_out": faults}})


def _write(folder: Path, line: dict[str, Any]) -> None:
    try:
        with open(folder / f"{os.getpid()}.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError:
        pass  # the launcher is gone; the program goes on
