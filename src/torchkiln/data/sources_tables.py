"""Files of rows (CSV, TSV, parquet, JSON lines) to one table with keys and splits."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from torchkiln.data.columns import typed
from torchkiln.data.delimited import parse
from torchkiln.data.source import SPLITS, Finding, Source
from torchkiln.errors import DataError
from torchkiln.registry import nearest

_TEXT = (".csv", ".tsv", ".tab", ".psv", ".txt")
_LINES = (".jsonl", ".ndjson")
_PARQUET = (".parquet", ".pq")
SUFFIXES = (*_TEXT, *_LINES, *_PARQUET)
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What a file, a folder or a cell may call a split, in small letters."""
_RESERVED = ("key", "split")


@dataclass(frozen=True)
class Part:
    """One file and the split that it is, if it says so."""

    path: Path
    split: str | None


def is_table(path: Path) -> bool:
    """Whether the file's suffix is that of a table, packed by gzip or not."""
    return _suffix(path) in SUFFIXES


def files(folder: Path) -> tuple[list[Part], list[Finding]]:
    """The table files of a folder: those named for a split, else the only one.

    Shards such as `train-00000-of-00002.parquet` count as named for a split.

    Raises:
        DataError: There are several and none is named `train`.
    """
    found = sorted(p for p in folder.iterdir() if p.is_file() and is_table(p) and not p.name.startswith("."))
    parts = [Part(p, split) for p in found if (split := _split_of(p))]
    if any(part.split == "train" for part in parts):
        _refuse_twins(parts)
        left = [p.name for p in found if p not in {part.path for part in parts}]
        if not left:
            return parts, []
        text = f"{folder}: {', '.join(left[:5])} not read: not named for train, val or test"
        return parts, [Finding("files_left_out", "note", text, left[:20])]
    if len(found) > 1:
        names = ", ".join(p.name for p in found[:6]) + (" ..." if len(found) > 6 else "")
        raise DataError(
            f"{folder}: which of {names} is the data? Name one as the path, or call them train, val and test"
        )
    return [Part(p, None) for p in found], []


def load(parts: list[Part], *, target: str | None = None, text: Iterable[str] = ()) -> Source:
    """One table from all parts, of kind `table`.

    Args:
        parts: Each with a path that exists.
        target: The target's column, where it is known: a part without it is left out.
        text: Columns known to hold running text.

    Returns:
        Keys are the file's path below the root and the row's number, from 1: `train.csv:1`.

    Raises:
        DataError: A file cannot be read, or its columns are not those of the training file.
    """
    parts = sorted(parts, key=lambda p: (p.split is not None and SPLITS.index(p.split), str(p.path)))
    root = Path(os.path.commonpath([p.path.resolve().parent for p in parts]))
    text, written = set(text), all(_suffix(part.path) in _TEXT for part in parts)
    read = [_read(part, root, text if written else None) for part in parts]
    frames, unlike = _alike(parts, [one.frame for one in read], target)
    if written and _differ(frames):
        read = [_read(part, root, None) for part in parts]
        frames, unlike = _alike(parts, [one.frame for one in read], target)
    findings = [finding for one in read for finding in one.findings]
    frame, typing = _joined(frames, written, text)
    frame, given = _split_column(frame)
    files = [one.file for one in read]
    digest = hashlib.sha256(repr(files).encode()).hexdigest()
    return Source("table", frame, root, digest, findings + unlike + typing + given, files)


# One file


@dataclass(frozen=True)
class Read:
    """A file's rows with `key` and `split`, what was noticed, and its name, bytes and SHA-256."""

    frame: pl.DataFrame
    findings: list[Finding]
    file: tuple[str, int, str]


def _read(part: Part, root: Path, as_words: Collection[str] | None) -> Read:
    raw = _bytes(part.path)
    name = part.path.resolve().relative_to(root).as_posix()
    with ThreadPoolExecutor(1) as beside:  # hashlib lets go of the interpreter
        digest = beside.submit(lambda: hashlib.sha256(raw).hexdigest())
        frame, noticed = _frame(raw, part.path, as_words)
    frame, renamed = _own_names(frame, part.path.name)
    frame = frame.with_columns(
        pl.format("{}:{}", pl.lit(name), pl.int_range(1, pl.len() + 1)).alias("key"),
        pl.lit(part.split, pl.String).alias("split"),
    )
    return Read(frame, noticed + renamed, (name, len(raw), digest.result()))


def _suffix(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return os.path.splitext(name)[1]


def _split_of(path: Path) -> str | None:
    stem = re.sub(r"(-\d+-of-\d+)?(\.[a-z]+)+$", "", path.name.lower())
    return SPLIT_WORDS.get(stem)


def _refuse_twins(parts: list[Part]) -> None:
    """Two files for one split are a doubt, unless they are numbered shards."""
    names: dict[str, str] = {}
    for part in parts:
        if "-of-" in part.path.name:
            continue
        assert part.split
        if part.split in names:
            raise DataError(
                f"{part.path.parent}: {names[part.split]} and {part.path.name} both are {part.split}; "
                "name the files by data.train, data.val and data.test"
            )
        names[part.split] = part.path.name


def _bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix.lower() == ".gz" else raw
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _frame(raw: bytes, path: Path, as_words: Collection[str] | None) -> tuple[pl.DataFrame, list[Finding]]:
    suffix = _suffix(path)
    if suffix in _PARQUET:
        return _parquet(raw, path)
    if suffix in _LINES:
        return _json_lines(raw, path)
    if suffix in _TEXT:
        return parse(raw, path.name, tab=suffix in (".tsv", ".tab"), as_words=as_words)
    hint = "; save the sheet as CSV" if suffix in (".xlsx", ".xls", ".ods") else ""
    raise DataError(f"{path}: tables are read from {', '.join(SUFFIXES)}, not from {suffix or 'this'}{hint}")


def _parquet(raw: bytes, path: Path) -> tuple[pl.DataFrame, list[Finding]]:
    try:
        frame = pl.read_parquet(raw)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} is no readable parquet file ({str(error).splitlines()[0]})") from None
    return _plain_types(frame, path.name)


def _json_lines(raw: bytes, path: Path) -> tuple[pl.DataFrame, list[Finding]]:
    rows = []
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path.name}: line {number} is no JSON ({error})") from None
        if not isinstance(row, dict):
            raise DataError(f"{path.name}: line {number} holds {str(row)[:40]!r}; an object a line is needed")
        rows.append(row)
    if not rows:
        raise DataError(f"{path.name}: the file is empty; an object a line is needed")
    return _plain_types(pl.from_dicts(rows, infer_schema_length=None, strict=False), path.name)


def _plain_types(frame: pl.DataFrame, name: str) -> tuple[pl.DataFrame, list[Finding]]:
    """Categories as strings, decimals as floats, NaN as missing; nested columns left out."""
    columns, left = [], []
    for column in frame.get_columns():
        dtype = column.dtype
        if isinstance(dtype, pl.Struct) and "bytes" in [f.name for f in dtype.fields]:
            column = column.struct.field("bytes").alias(column.name)  # pictures as Hugging Face writes them
        elif dtype.is_nested() or dtype == pl.Object:
            left.append(column.name)
            continue
        elif isinstance(dtype, pl.Categorical | pl.Enum):
            column = column.cast(pl.String)
        elif dtype.is_decimal():
            column = column.cast(pl.Float64)
        columns.append(column.fill_nan(None) if column.dtype.is_float() else column)
    text = f"{name}: columns {', '.join(map(repr, left[:6]))} left out: they hold lists or structures"
    return pl.DataFrame(columns), [Finding("nested_columns", "warn", text, left)] if left else []


# All files


def _own_names(frame: pl.DataFrame, name: str) -> tuple[pl.DataFrame, list[Finding]]:
    """The frame with columns called as ours set aside: `key` becomes `key_`."""
    taken = {c: f"{c}_" for c in frame.columns if c in _RESERVED}
    if not taken:
        return frame, []
    text = ", ".join(f"{old!r} is called {new!r} here" for old, new in taken.items())
    return frame.rename(taken), [Finding("renamed_column", "note", f"{name}: column {text}")]


def _alike(
    parts: list[Part], frames: list[pl.DataFrame], target: str | None
) -> tuple[list[pl.DataFrame], list[Finding]]:
    """Frames with the columns of the training file; a part that only lacks the target is left out.

    Raises:
        DataError: A part lacks another column.
    """
    columns = frames[next((i for i, p in enumerate(parts) if p.split in ("train", None)), 0)].columns
    kept: list[pl.DataFrame] = []
    findings: list[Finding] = []
    for part, frame in zip(parts, frames, strict=True):
        lacking = [c for c in columns if c not in frame.columns]
        if part.split in ("val", "test") and len(lacking) == 1 and target in (None, lacking[0]):
            text = f"{part.path.name} has no column {lacking[0]!r}, so it cannot be tested on and is left out"
            findings.append(Finding("part_without_target", "warn", text, lacking))
            continue
        if lacking:
            near = nearest(lacking[0], [c for c in frame.columns if c not in columns])
            hint = f"; is it the one called {near!r}?" if near else ""
            raise DataError(f"{part.path.name} lacks the column {lacking[0]!r} of the training file{hint}")
        extra = [c for c in frame.columns if c not in columns]
        if extra:
            listed = ", ".join(map(repr, extra[:6]))
            text = f"{part.path.name}: left out columns that the training file lacks: {listed}"
            findings.append(Finding("extra_columns", "note", text, extra[:20]))
        kept.append(frame if frame.columns == columns else frame.select(columns))
    return kept, findings


def _differ(frames: list[pl.DataFrame]) -> bool:
    """Whether a column came as numbers from one file of text and as words from another."""
    schemas = [frame.schema for frame in frames]
    return any(len({schema[c] == pl.String for schema in schemas}) > 1 for c in frames[0].columns)


def _joined(frames: list[pl.DataFrame], written: bool, text: Iterable[str]) -> tuple[pl.DataFrame, list[Finding]]:
    """All rows, `key` and `split` first; columns of text files get their types from all parts together."""
    _refuse_clashes(frames)
    frame = pl.concat(frames, how="vertical_relaxed")
    own = frame.drop(_RESERVED)
    findings: list[Finding] = []
    if written:
        own, findings = typed(own, text)
    return pl.concat([frame.select(_RESERVED), own], how="horizontal"), findings


def _refuse_clashes(frames: list[pl.DataFrame]) -> None:
    """Columns of two types are refused, but for numbers of different width."""
    for column in frames[0].columns:
        types = {f.schema[column] for f in frames} - {pl.Null()}
        if len(types) > 1 and not all(t.is_numeric() for t in types):
            found = " and ".join(sorted(map(str, types)))
            raise DataError(f"column {column!r} is {found} in different files; make it one type")


def _split_column(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[Finding]]:
    """Uses a column `split` of the person's own that says train, val and test, where no file does."""
    if "split_" not in frame.columns or frame["split"].null_count() < len(frame):
        return frame, []
    words = frame["split_"].cast(pl.String).str.strip_chars().str.to_lowercase()
    if words.null_count() or not set(words.unique()) <= set(SPLIT_WORDS) or "train" not in words:
        return frame, []
    frame = frame.with_columns(words.replace_strict(SPLIT_WORDS).alias("split")).drop("split_")
    text = "the column 'split' says which rows are train, val and test"
    return frame, [Finding("split_given", "note", text)]
