"""A person's data, whatever its form, to one `Source`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torchkiln.data import sources_images as images
from torchkiln.data import sources_tables as tables
from torchkiln.data.facts import gather, text_column
from torchkiln.data.source import Kind, Source
from torchkiln.errors import DataError
from torchkiln.recipe.propose import is_text
from torchkiln.recipe.schema import Data
from torchkiln.registry import did_you_mean, nearest


def read(data: Data, kind: Kind) -> Source:
    """All rows that a recipe's `data` names, as the kind of rows that its task needs.

    Args:
        data: `path`, or `train` with `val` and `test`.
        kind: `images` come from a folder a class or a table that lists them; `table` and `text` from
            CSV, TSV, JSON lines or parquet.

    Returns:
        A source whose `split` is null where the data does not say it. Texts are the column that
        `data.text` names, else the one that looks most like text.

    Raises:
        DataError: It is missing, empty or cannot be read; says what is wanted.
    """
    given = _given(data)
    if kind == "images":
        return _pictures(given, data)
    source = _table(given, data)
    if kind == "table":
        return source
    column = data.text or text_column(source.frame, data.target)
    own = source.frame.columns[2:]
    if column is None:
        raise DataError(f"no column looks like text; name it by data.text (columns are {', '.join(own)})")
    if column not in own:
        raise DataError(f"data.text: the table has no column {column!r}{did_you_mean(column, own)}")
    return replace(source, kind="text")


def look(path: Path) -> Source:
    """The data at `path`, of the kind that is found there.

    Raises:
        DataError: There is nothing that can be trained on.
    """
    data = Data(path=str(path))
    given = _given(data)
    if path.is_dir() and (images.holds_classes(path) or not _has_table(path)):
        return images.folders(given)
    source = _table(given, data)
    if images.picture_column(source):
        return images.listed(source, None)
    return replace(source, kind="text") if is_text(gather(source, str(path))) else source


def _given(data: Data) -> dict[str | None, Path]:
    """The paths of a recipe by split, None for one path; each exists."""
    named: dict[str | None, str | None] = {"train": data.train, "val": data.val, "test": data.test}
    if data.path:
        named = {None: data.path}
    given = {split: Path(text).expanduser() for split, text in named.items() if text}
    if not given:
        raise DataError("data.path: name the folder or file that holds the data")
    for split, path in given.items():
        if not path.exists():
            beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            near = nearest(path.name, beside)
            hint = f"; did you mean {path.parent / near}?" if near else ""
            raise DataError(f"data.{split or 'path'}: {path} does not exist{hint}")
    if len({p.resolve() for p in given.values()}) < len(given):
        raise DataError("data.train, data.val and data.test must be different files or folders")
    return given


def _has_table(folder: Path) -> bool:
    return any(tables.is_table(p) for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


def _pictures(given: dict[str | None, Path], data: Data) -> Source:
    if all(p.is_dir() for p in given.values()):
        lists = data.image is not None or not any(images.holds_classes(p) for p in given.values())
        if not (lists and all(_has_table(p) for p in given.values())):
            return images.folders(given)
    return images.listed(_table(given, data), data.image)


def _table(given: dict[str | None, Path], data: Data) -> Source:
    parts: list[tables.Part] = []
    findings = []
    for split, path in given.items():
        if path.is_file():
            parts.append(tables.Part(path, split))
            continue
        found, noticed = tables.files(path)
        if not found:
            empty = "is empty" if not any(path.iterdir()) else "holds no table"
            wanted = "put a table there (.csv, .tsv, .jsonl or .parquet), such as train.csv"
            raise DataError(f"{path} {empty}; {wanted}")
        parts += [tables.Part(p.path, split or p.split) for p in found]
        findings += noticed
    source = tables.load(parts, target=data.target, text=[data.text] if data.text else [])
    return replace(source, findings=findings + source.findings)
