"""Runs first in every Python that a guarded command starts, put there by PYTHONPATH; it makes way for the person's own.

torchkiln is loaded from where it stands, with nothing else of its environment, since the program may have another.
"""

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def _make_way() -> None:
    """Take this folder out of the path, and run the `sitecustomize` that would have run without it."""
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize")
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


def _reachable() -> None:
    """Make the `torchkiln` that watches importable, and no other."""
    package = HERE.parents[2]
    there = importlib.util.find_spec("torchkiln")
    if there is None or there.origin != str(package / "__init__.py"):
        spec = importlib.util.spec_from_file_location(
            "torchkiln", package / "__init__.py", submodule_search_locations=[str(package)]
        )
        if spec is None or spec.loader is None:
            return
        module = importlib.util.module_from_spec(spec)
        sys.modules["torchkiln"] = module
        spec.loader.exec_module(module)


if "TORCHKILN_GUARD" in os.environ and __name__ == "sitecustomize":
    try:
        _reachable()
        from torchkiln.checks.guard import hook

        hook.wait()
    finally:
        _make_way()
