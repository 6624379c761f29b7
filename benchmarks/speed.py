"""How fast we are: beside a plain loop of PyTorch, and beside what a person would otherwise use.

    python benchmarks/speed.py [ROW ...] [--check] [--json FILE] [--env DIR]

Each row stands in the module named for its family; a family's peers get an environment of their own in DIR, linked to
this one's torch, and found there the next time. Programs run in turns (A B A B); figures are medians, and ratios of
medians.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from figures import Figure, Row, command_line

HOMES = {
    "features": "speed_features",
    **dict.fromkeys(
        ("mlp", "mlp_parts", "resnet", "transformer", "resnet_planned", "transformer_planned"), "speed_steps"
    ),
    **dict.fromkeys(("gpu_cifar", "gpu_resnet50", "gpu_gpt"), "speed_gpu"),
    "images": "speed_images",
    "tables": "speed_tables",
    "texts": "speed_texts",
    "growth_memory": "speed_rows",
    **dict.fromkeys(("cifar10", "adult", "sst2"), "speed_scores"),
    "start": "speed_start",
    "growth_time": "speed_growth",
}
"""Row to the module that has a function of its name."""


def row(name: str) -> Row:
    """The row's function, whose module is imported when it is measured."""

    def measured(folder: Path, env: Path) -> list[Figure]:
        function: Row = getattr(importlib.import_module(HOMES[name]), name)
        return function(folder, env)

    return measured


if __name__ == "__main__":
    sys.exit(command_line(__doc__ or "", {name: row(name) for name in HOMES}))
