"""How TorchServe asks a bundle; a copy of this file lies in every .mar."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torchkiln import bundle

_loaded: bundle.Bundle | None = None


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[dict[str, Any]] | None:
    """The answers for a batch of requests; TorchServe's first call brings none and means: get ready.

    Args:
        data: For each request a mapping whose `body` or `data` is a record, JSON, a text, or a picture's bytes.
        context: Its `system_properties` name the folder in which the archive was unpacked.
    """
    global _loaded
    if _loaded is None:
        _loaded = bundle.load(Path(context.system_properties["model_dir"]) / "bundle")
    return None if data is None else _loaded.predict([_record(row, _loaded) for row in data])


def _record(row: dict[str, Any], asked: bundle.Bundle) -> dict[str, Any]:
    value = row.get("body", row.get("data"))
    fields = list(asked.schema["request"]["properties"])
    if isinstance(value, bytes | bytearray):
        try:
            value = json.loads(value)
        except ValueError:  # a picture's bytes, or a text that is no JSON
            pictures = asked.codec is not None and asked.codec.inputs.kind == "image"
            value = bytes(value) if pictures else bytes(value).decode("utf-8", "replace")
    return value if isinstance(value, dict) else {fields[0]: value}
