"""Files that a verb writes where a person names them."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from torchkiln.errors import InputError


def trace_file(file: Path) -> Path:
    """Where a trace is to be written, if it can be."""
    if not file.name.lower().endswith((".json", ".json.gz")):
        raise InputError(f"{file}: a trace is written as .json or .json.gz")
    if not file.parent.is_dir():
        raise InputError(f"{file}: there is no folder {file.parent}")
    return file


def table_suffix(file: Path) -> str:
    """The file's suffix, if predictions can be written so."""
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".parquet", ".jsonl"):
        raise InputError(f"{file}: predictions are written as .csv, .parquet or .jsonl")
    return suffix


def write_table(table: pl.DataFrame, file: Path) -> None:
    """Write predictions in the form that the file's suffix names."""
    match table_suffix(file):
        case ".csv":
            table.write_csv(file)
        case ".parquet":
            table.write_parquet(file)
        case _:
            table.write_ndjson(file)
