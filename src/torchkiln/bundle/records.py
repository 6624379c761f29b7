"""Raw records to arrays: every fault is a sentence that names the record and the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from torchkiln.bundle.manifest import Manifest
from torchkiln.codec.base import Arrays, Codec
from torchkiln.errors import RecordError


def arrays(given: Any, codec: Codec | None, manifest: Manifest, schema: Mapping[str, Any]) -> Arrays:
    """Arrays of whatever a person hands over: records, a frame, paths of pictures, or texts."""
    if hasattr(given, "to_dict") and not isinstance(given, pl.DataFrame):  # pandas
        columns = given.to_dict(orient="list")
        given = pl.DataFrame({n: [None if v != v else v for v in c] for n, c in columns.items()}, strict=False)
    if isinstance(given, pl.DataFrame):
        return codec.inputs.encode(given) if codec else encode(given.to_dicts(), codec, manifest, schema)
    several: list[Any] = [given] if isinstance(given, Mapping | str | Path | bytes) else list(given)
    column = getattr(codec.inputs, "column", None) if codec else None
    if column is not None and codec is not None:
        pictures = codec.inputs.kind == "image"
        several = [r if isinstance(r, Mapping) else {column: Path(r) if pictures else r} for r in several]
    return encode(several, codec, manifest, schema)


def encode(
    records: Sequence[Mapping[str, Any]], codec: Codec | None, manifest: Manifest, schema: Mapping[str, Any]
) -> Arrays:
    """Arrays of records as they come from JSON.

    Raises:
        RecordError: Names the record and the field.
    """
    if not records:
        raise RecordError("there is no record to predict for")
    if codec is None:
        return {t.name: np.asarray([r[t.name] for r in records], t.dtype) for t in manifest.inputs}
    return codec.inputs.encode(pl.DataFrame({n: [r[n] for r in records] for n in schema["request"]["properties"]}))
