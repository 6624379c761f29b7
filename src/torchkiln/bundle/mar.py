"""A TorchServe archive around a bundle: a legacy, since that project takes no more fixes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torchkiln.bundle import files, torchserve_handler
from torchkiln.bundle.triton import model_name
from torchkiln.bundle.write import zipped

_HANDLER = "handler.py"


def pack(folder: Path, file: Path, name: str) -> Path:
    """Write NAME.mar: the finished bundle below `bundle/`, and a handler that asks it.

    TorchServe runs the handler's code; the machine that serves needs torchkiln's base install.

    Args:
        folder: The bundle's.
        file: The archive; what is there is replaced once it is whole.
        name: The model's.
    """
    manifest: dict[str, Any] = {
        "runtime": "python",
        "model": {"modelName": model_name(name), "handler": _HANDLER, "modelVersion": "1.0"},
        "archiverVersion": "0.12.0",
    }
    handler = Path(torchserve_handler.__file__).read_bytes()
    entries: dict[str, Path | bytes] = {f"bundle/{one}": folder / one for one in files.listed(folder)}
    return zipped(
        {**entries, _HANDLER: handler, "MAR-INF/MANIFEST.json": json.dumps(manifest, indent=1).encode()}, file
    )
