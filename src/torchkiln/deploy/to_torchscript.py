"""A graph traced to TorchScript: legacy, for those who load it already."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import torch

from torchkiln.deploy.graph import Graph
from torchkiln.deploy.packing import repacked
from torchkiln.deploy.program import example_of

DEBUG = (".debug_pkl",)
"""Entries of the archive that name the lines of source on this machine."""


def write(graph: Graph, file: Path) -> None:
    """Trace the module and write it; what it would do with other data is seen when the file is run at other sizes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # every door of it warns that it is deprecated, which we say in our own words
        with torch.no_grad():
            traced = torch.jit.trace(graph.module, example_of(graph), check_trace=False)  # type: ignore[no-untyped-call]
        content = io.BytesIO()
        torch.jit.save(traced, content)
    file.write_bytes(repacked(content.getvalue(), DEBUG))
