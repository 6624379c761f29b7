"""An exported program to a .pt2 file, the same bytes each time."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch.export import ExportedProgram


def write(program: ExportedProgram, file: Path) -> None:
    """Write the program with its weights and its example batch, which is made up."""
    content = io.BytesIO()
    torch.export.save(program, content)
    file.write_bytes(content.getvalue())
