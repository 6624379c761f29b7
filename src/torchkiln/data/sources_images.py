"""Pictures: a folder a class, or a table that lists them."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from torchkiln.codec.image import SUFFIXES
from torchkiln.data.source import Finding, Source
from torchkiln.data.sources_tables import SPLIT_WORDS
from torchkiln.data.threads import in_threads
from torchkiln.errors import DataError
from torchkiln.registry import did_you_mean

LABEL = "label"
"""The column that a class folder's name goes into."""
_OTHER_PICTURES = (".gif", ".heic", ".heif", ".avif", ".svg", ".psd", ".raw", ".cr2", ".nef", ".dng", ".ico")
_WHOLE = 4 << 30
"""Bytes up to which every file is hashed whole."""
_ENDS = 1 << 16
"""Bytes hashed at each end of a file beyond that."""


@dataclass(frozen=True)
class Picture:
    """A picture in a class folder.

    Args:
        key: Path below the root, with slashes.
        path: Absolute path.
        size: Bytes.
    """

    key: str
    split: str | None
    label: str
    path: str
    size: int


def folders(roots: dict[str | None, Path]) -> Source:
    """Pictures in a folder a class.

    Args:
        roots: One folder under None, whose own folders are the classes or train, val and test; or the
            folder of each split, whose folders are the classes.

    Returns:
        Sorted by key: `image` is the absolute path, `label` the name of the class folder.

    Raises:
        DataError: There is no picture in a class folder.
    """
    base = Path(os.path.commonpath([r.resolve() for r in roots.values()]))
    pictures: list[Picture] = []
    left: list[str] = []
    for split, root in sorted(roots.items(), key=str):
        parts: dict[str | None, Path] = _split_folders(root) if split is None else {split: root}
        if split is None and len(parts) and None not in parts:
            left += _beside(root, parts)
        for part, folder in parts.items():
            found, others = _classes(folder.resolve(), part, base)
            pictures += found
            left += others
    first = next(iter(roots.values()))
    if not pictures:
        raise DataError(_nothing(first, left))
    _refuse_nested(first, pictures)
    pictures.sort(key=lambda p: p.key)
    digest, files, findings = _digest(pictures)
    frame = pl.DataFrame(
        {"key": [p.key for p in pictures], "split": [p.split for p in pictures],
         "image": [p.path for p in pictures], LABEL: [p.label for p in pictures]},
        schema={"key": pl.String, "split": pl.String, "image": pl.String, LABEL: pl.String},
    )  # fmt: skip
    return Source("images", frame, base, digest, _left_out(left) + findings, files)


def holds_classes(folder: Path) -> bool:
    """Whether the folder holds train/ with classes in it, or at least two folders of pictures."""
    trains = [p for p in _subfolders(folder) if _split_word(p) == "train"]
    if any(_has_picture(c) for train in trains for c in _subfolders(train)):
        return True
    return sum(_has_picture(p) for p in _subfolders(folder)) >= 2


def listed(table: Source, column: str | None) -> Source:
    """A table's rows as pictures; `image` holds their bytes or absolute paths.

    Args:
        table: As read by `sources_tables`.
        column: The column of pictures; None: the one that looks like it.

    Raises:
        DataError: There is no such column, or none of its files is there.
    """
    frame = table.frame
    name = column or picture_column(table)
    if name is None or name not in frame.columns:
        own = [c for c in frame.columns if c not in ("key", "split")]
        hint = did_you_mean(name, own) if name else f"; name it by data.image (columns are {', '.join(own)})"
        raise DataError(f"data.image: the table has no column {repr(name) if name else 'of pictures'}{hint}")
    if name != "image":
        if "image" in frame.columns:
            raise DataError(f"data.image: pictures are in {name!r}, so rename the other column, 'image'")
        frame = frame.rename({name: "image"})
    if frame.schema["image"] == pl.Binary:
        return replace(table, kind="images", frame=frame)
    if frame.schema["image"] != pl.String:
        raise DataError(f"data.image: column {name!r} holds {frame.schema['image']}, not paths or bytes")
    return _with_paths(table, frame, name)


def picture_column(table: Source) -> str | None:
    """The first column of bytes, or of names that end as pictures do."""
    for column in table.frame.drop("key", "split").get_columns():
        if column.dtype == pl.Binary:
            return column.name
        if column.dtype == pl.String:
            ends = column.drop_nulls().head(200).str.to_lowercase().str.extract(r"(\.[a-z]+)$")
            pictures = ends.is_in([*SUFFIXES, *_OTHER_PICTURES]).fill_null(False)
            if len(ends) and pictures.sum() >= 0.9 * len(ends):
                return column.name
    return None


# Folders


def _subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def _split_word(folder: Path) -> str | None:
    return SPLIT_WORDS.get(folder.name.lower())


def _split_folders(root: Path) -> dict[str | None, Path]:
    """The folders of the splits where there is a train folder among them; else the root itself."""
    found: dict[str | None, Path] = {}
    for folder in _subfolders(root):
        split = _split_word(folder)
        if split in found:
            raise DataError(f"{root}: {found[split].name}/ and {folder.name}/ both are {split}; keep one")
        if split:
            found[split] = folder
    return found if "train" in found else {None: root}


def _beside(root: Path, parts: dict[str | None, Path]) -> list[str]:
    """What lies beside train/, val/ and test/ and is not read."""
    used = {p.name for p in parts.values()}
    return [p.name + ("/" if p.is_dir() else "") for p in sorted(root.iterdir())
            if p.name not in used and not p.name.startswith((".", "__"))]  # fmt: skip


def _classes(folder: Path, split: str | None, base: Path) -> tuple[list[Picture], list[str]]:
    """Pictures below the class folders of `folder`, and the keys of files that are left out."""
    pictures, left = [], []
    for path in _walk(folder):
        inside = path[len(str(folder)) + 1 :].split(os.sep)
        key = Path(path).relative_to(base).as_posix()
        if len(inside) > 1 and path.lower().endswith(SUFFIXES):
            pictures.append(Picture(key, split, inside[0], path, os.path.getsize(path)))
        else:
            left.append(key)
    return pictures, left


def _walk(folder: Path) -> list[str]:
    """Files below `folder`, through links but never round in a circle; hidden ones are passed by.

    Sorted folder by folder: the order in which a file system lists them must not decide which of two links to the
    same folder is followed, nor which file a word names.
    """
    found: list[str] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__")))
        found += [os.path.join(place, n) for n in sorted(names) if not n.startswith(".") and n != "Thumbs.db"]
    return found


def _has_picture(folder: Path) -> bool:
    names = (name for _, _, names in os.walk(folder) for name in names)
    return any(name.lower().endswith(SUFFIXES) for name in names)


def _nothing(folder: Path, left: list[str]) -> str:
    """Why no picture was found."""
    loose = [k for k in left if k.lower().endswith(SUFFIXES)]
    wanted = f"put pictures ({', '.join(s[1:] for s in SUFFIXES[:5])} ...) into a folder a class: ants/1.jpg"
    if loose:
        return f"{folder}: {len(loose):,} pictures such as {loose[0]} lie in no class folder; {wanted}"
    if left:
        kinds = Counter(os.path.splitext(k)[1].lower() or k for k in left).most_common(3)
        found = ", ".join(f"{n:,} {kind}" for kind, n in kinds)
        return f"{folder}: no pictures, only {found}; {wanted}"
    return f"{folder} is empty; {wanted}"


def _refuse_nested(root: Path, pictures: list[Picture]) -> None:
    """A folder around the class folders, as archives have it, would be taken for the only class."""
    labels = {p.label for p in pictures}
    inner = root / next(iter(labels))
    if len(labels) == 1 and inner.is_dir() and holds_classes(inner):
        raise DataError(f"{root} holds the one folder {inner.name}/, which holds the classes; give {inner}")


def _left_out(left: list[str]) -> list[Finding]:
    if not left:
        return []
    kinds = Counter(_kind_of(k) for k in left)
    text = ", ".join(f"{n:,} {kind}" for kind, n in kinds.most_common())
    pictures = any(k.lower().endswith((*SUFFIXES, *_OTHER_PICTURES)) or k.endswith("/") for k in left)
    left = sorted(left, key=lambda k: (not k.lower().endswith((*SUFFIXES, *_OTHER_PICTURES)), k))
    named = f": {left[0]}" if len(left) == 1 else f", such as {left[0]}"
    text = f"left out {text}{named}"
    return [Finding("files_left_out", "warn" if pictures else "note", text, left[:20])]


def _kind_of(key: str) -> str:
    if key.endswith("/"):
        return "folder beside train, val and test"
    suffix = os.path.splitext(key)[1].lower()
    if suffix in SUFFIXES:
        return "picture in no class folder"
    return f"{suffix} file" if suffix else "file without a suffix"


def _digest(pictures: list[Picture]) -> tuple[str, list[tuple[str, int, str]], list[Finding]]:
    """SHA-256 over the sorted keys, sizes and contents; the same of each file; and what is to be said of it."""
    whole = sum(p.size for p in pictures) <= _WHOLE
    contents = in_threads(lambda p: _file_digest(p.path, whole), pictures)
    files = [(p.key, p.size, d) for p, d in zip(pictures, contents, strict=True)]
    lines = [f"{key}\0{size}\0{content}\n" for key, size, content in files]
    digest = hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()
    if whole:
        return digest, files, []
    text = "more than 4 GiB of pictures: the data digest covers names, sizes and both ends of each file"
    return digest, files, [Finding("partial_digest", "note", text)]


def _file_digest(path: str, whole: bool) -> str:
    try:
        with open(path, "rb") as file:
            if whole:
                return hashlib.file_digest(file, "sha256").hexdigest()
            head = file.read(_ENDS)
            file.seek(max(0, os.path.getsize(path) - _ENDS))
            return hashlib.sha256(head + file.read()).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


# Tables that list pictures


def _with_paths(table: Source, frame: pl.DataFrame, name: str) -> Source:
    """Paths made absolute and used as keys where none occurs twice."""
    listed = frame["image"].to_list()
    base = _base(table.root, listed)
    paths = [None if p is None else os.path.join(base, p) for p in listed]
    there = [p for p in paths if p and os.path.isfile(p)]
    if not there:
        first = next((p for p in paths if p), None)
        raise DataError(f"column {name!r}: none of its {len(paths):,} files is there; looked for {first}")
    frame = frame.with_columns(pl.Series("image", paths, pl.String))
    if None not in listed and len(set(listed)) == len(listed):
        frame = frame.with_columns(pl.Series("key", [Path(p).as_posix() for p in listed]))
    pictures = [Picture(p, None, "", p, os.path.getsize(p)) for p in sorted(set(there))]
    keyed = [replace(p, key=os.path.relpath(p.path, table.root)) for p in pictures]
    digest, files, findings = _digest(keyed)
    digest = hashlib.sha256((table.digest + digest).encode()).hexdigest()
    return Source("images", frame, table.root, digest, table.findings + findings, table.files + files)


def _base(root: Path, listed: list[str | None]) -> Path:
    """The folder that listed paths start from: the table's, or one beside it that has the first file."""
    first = next((p for p in listed if p), "")
    beside = [root, *_subfolders(root)]
    return next((folder for folder in beside if (folder / first).is_file()), root)
