"""Started by the interpreter of a program under `torchkiln diagnose --`: what would have been started, then the facts.

The folder of this file stands first in PYTHONPATH; nothing of the program is changed.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def start() -> None:
    """Run the `sitecustomize` that this one hides, if there is one, and have the facts kept."""
    others = [p for p in sys.path if os.path.abspath(p or ".") != HERE]
    hidden = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if hidden is not None and hidden.loader is not None:
        hidden.loader.exec_module(importlib.util.module_from_spec(hidden))
    spec = importlib.util.spec_from_file_location("_torchkiln_facts", os.path.join(os.path.dirname(HERE), "facts.py"))
    if spec is not None and spec.loader is not None:
        facts = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(facts)
        facts.watch()


if "TORCHKILN_FACTS" in os.environ:
    start()
