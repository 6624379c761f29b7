"""Arrays of decoded samples kept on disk between runs, memory-mapped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from torchkiln.codec.base import Array, InputCodec, Ragged

LIMIT_BYTES = 20 * 2**30
"""What the whole cache may take; the longest unused go first."""
CHUNK = 64
"""Samples decoded at once."""
New = Callable[[str, tuple[int, ...], Any], Array]
"""(name, shape, dtype) -> an array to be filled."""


def folder() -> Path:
    """`$TORCHKILN_CACHE`, or `torchkiln` in the person's cache directory."""
    base = os.environ.get("TORCHKILN_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) if base else Path(home) / "torchkiln"


def key(digest: str, codec: InputCodec, split: str, keys: pl.Series) -> str:
    """Name of a cache entry: the data, what is made of it, and which rows in which order."""
    state = json.dumps([digest, codec.kind, codec.state(), split], sort_keys=True)
    hashed = hashlib.sha256(state.encode())
    hashed.update("\0".join(keys.to_list()).encode())
    return hashed.hexdigest()[:32]


def sample_bytes(codec: InputCodec, frame: pl.DataFrame) -> int:
    """Bytes of one encoded sample, read off the first row."""
    arrays = codec.encode(frame[:1]).values()
    return sum((a.values if isinstance(a, Ragged) else a).nbytes for a in arrays)


def encode(codec: InputCodec, frame: pl.DataFrame) -> dict[str, Array]:
    """Encode all rows of a codec with dense arrays, on all cores: decoders leave Python's lock."""
    return _encode_into(codec, frame, lambda name, shape, dtype: np.empty(shape, dtype))


def mapped(codec: InputCodec, frame: pl.DataFrame, name: str) -> dict[str, Array]:
    """The rows' arrays as a memory-mapped entry of the cache, made now if it is not there.

    Args:
        codec: Gives dense arrays.
        frame: Rows, in the order of the arrays.
        name: What `key` gave.
    """
    return kept(name, lambda new: _encode_into(codec, frame, new))


def kept(name: str, make: Callable[[New], Mapping[str, Array]]) -> dict[str, Array]:
    """Memory-mapped arrays of an entry of the cache, made now if it is not there.

    Args:
        name: Of the entry: a digest of all that the arrays follow from.
        make: Makes and fills arrays that it is given by `New`.
    """
    entry = folder() / name
    if not (entry / "done").is_file():
        _make(make, entry)
    os.utime(entry / "done")
    _forget_oldest(keep=entry)
    return {p.stem: np.load(p, mmap_mode="r") for p in sorted(entry.glob("*.npy"))}


def _make(make: Callable[[New], Mapping[str, Array]], entry: Path) -> None:
    temporary = entry.with_name(f"{entry.name}.{os.getpid()}")
    temporary.mkdir(parents=True)
    try:

        def new(name: str, shape: tuple[int, ...], dtype: Any) -> Array:
            return np.lib.format.open_memmap(temporary / f"{name}.npy", "w+", dtype, shape)

        for array in make(new).values():
            array.flush()  # type: ignore[attr-defined]  # it is a memory map
        (temporary / "done").touch()
        if not (entry / "done").is_file():
            shutil.rmtree(entry, ignore_errors=True)
        try:
            os.rename(temporary, entry)
        except OSError:
            if not (entry / "done").is_file():  # else another process has made it meanwhile
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _encode_into(codec: InputCodec, frame: pl.DataFrame, new: New) -> dict[str, Array]:
    first = {name: np.asarray(a) for name, a in codec.encode(frame[:1]).items()}
    out: dict[str, Array] = {n: new(n, (len(frame), *a.shape[1:]), a.dtype) for n, a in first.items()}

    def fill(start: int) -> None:
        for name, array in codec.encode(frame[start : start + CHUNK]).items():
            out[name][start : start + CHUNK] = array

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, range(0, len(frame), CHUNK)))
    return out


def _forget_oldest(keep: Path) -> None:
    entries = sorted((p for p in folder().iterdir() if (p / "done").is_file()),
                     key=lambda p: (p / "done").stat().st_mtime)  # fmt: skip
    sizes = {p: sum(f.stat().st_size for f in p.iterdir()) for p in entries}
    total = sum(sizes.values())
    for entry in entries:
        if total <= LIMIT_BYTES:
            return
        if entry != keep:
            shutil.rmtree(entry, ignore_errors=True)
            total -= sizes[entry]
