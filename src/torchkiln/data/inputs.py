"""New inputs for a trained model: files, folders, texts or a frame, without labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from torchkiln.codec.image import SUFFIXES
from torchkiln.data import sources_tables as tables
from torchkiln.data.source import Kind
from torchkiln.errors import DataError


def frame(inputs: Any, kind: Kind, text: str | None) -> pl.DataFrame:
    """One row an input, with a column `key`.

    Args:
        inputs: A path or several, or a polars frame. For texts a string that is no file is the text itself.
        kind: What the model was trained on.
        text: The column of texts, for `kind` text.

    Raises:
        DataError: A path does not exist, or holds nothing of the kind.
    """
    if isinstance(inputs, pl.DataFrame):
        return inputs if "key" in inputs.columns else inputs.with_row_index("key").cast({"key": pl.String})
    given = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    if not given:
        raise DataError("predict: give at least one file, folder or text")
    if kind == "text" and not any(_exists(g) for g in given):
        assert text is not None
        return pl.DataFrame({"key": [str(i) for i in range(len(given))], text: [str(g) for g in given]})
    for path in given:
        if not _exists(path):
            raise DataError(f"predict: {path} does not exist")
    paths = [Path(p) for p in given]
    if kind == "images":
        return _pictures(paths)
    return tables.load([tables.Part(p, None) for p in _files(paths)], text=[text] if text else []).frame.drop("split")


def _pictures(paths: Sequence[Path]) -> pl.DataFrame:
    found: list[tuple[str, str]] = []
    for path in paths:
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        found += [(str(p.relative_to(path)) if path.is_dir() else str(p), str(p.resolve())) for p in inside]
    if not found:
        raise DataError(f"predict: {paths[0]} holds no pictures ({', '.join(SUFFIXES)})")
    if len(found) == 1 and tables.is_table(Path(found[0][1])):
        raise DataError(f"predict: {found[0][0]} is a table; this model takes pictures")
    return pl.DataFrame(found, schema=["key", "image"], orient="row")


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        inside = sorted(p for p in path.iterdir() if tables.is_table(p)) if path.is_dir() else [path]
        if not inside:
            raise DataError(f"predict: {path} holds no table (.csv, .tsv, .jsonl or .parquet)")
        files += inside
    return files


def _exists(path: str | Path) -> bool:
    try:
        return bool(str(path)) and Path(path).exists()
    except OSError:  # a text may be too long for a file name
        return False
