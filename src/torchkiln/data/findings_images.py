"""What is wrong with pictures: unreadable ones, and copies of one on both sides of a split."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from PIL import Image

from torchkiln.codec.image import MAX_PIXELS, picture
from torchkiln.data.source import Finding
from torchkiln.data.threads import in_threads
from torchkiln.errors import DataError

Ints = npt.NDArray[np.int64]

MOST = 50_000
"""Pictures that are looked at; of more, a sample spread over all of them."""
_FEW = 0.01
"""Share of unreadable pictures up to which they are left out instead of stopping the run."""
_WIDTH, _HEIGHT = 18, 16
"""Of the grey thumbnails: 2 x 2 pixels for each of the 9 x 8 that the hash compares."""
_BITS = 14
"""Bits of 64 by which the hashes of near copies may differ."""
_UNLIKE = 0.3
"""Distance of two thumbnails, each brought to mean 0 and length 1, up to which they are one picture.

Found by eye on pairs of CIFAR-10, of which nearly all up to here were copies.
"""
_RARE = 0.4
"""Share of the usual distance to the nearest other picture that a copy must be within.

Handwritten digits and other simple drawings all look alike; a copy must stand out.
"""
_CROWDED = 0.01
"""Share of pairs with like hashes from which all pairs multiplied as matrices cost less than these one by one."""
_FLAT = 8.0
"""Deviation of a thumbnail's pixels, of 255, below which it shows too little to be told from others."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one picture.

    Args:
        digest: Of the file's bytes.
        thumbnail: Grey, uint8 [16, 18]; None where the picture cannot be read.
        fault: One sentence on why it cannot.
    """

    digest: bytes
    thumbnail: npt.NDArray[np.uint8] | None
    fault: str


def check(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[Finding]]:
    """The frame without unreadable pictures, and what was found.

    Few unreadable ones are left out with a warning that names them; more stop the run.

    Args:
        frame: Columns `key`, `split` and `image` with paths or bytes.
    """
    step = -(-len(frame) // MOST)
    sample = frame.gather_every(step)
    rows = list(zip(sample["image"].to_list(), sample["key"].to_list(), strict=True))
    seen = in_threads(lambda row: _see(*row), rows)
    findings = []
    if step > 1:
        text = f"{len(sample):,} of {len(frame):,} pictures were looked at, spread over all"
        findings.append(Finding("sampled", "note", text))
    readable = pl.Series([s.thumbnail is not None for s in seen])
    if not readable.all():
        bad = sample.filter(~readable)["key"].to_list()
        findings.append(_unreadable(bad, [s.fault for s in seen if s.fault], len(sample)))
        frame = frame.filter(~pl.col("key").is_in(bad))
    kept = [s for s in seen if s.thumbnail is not None]
    findings += _copies(sample.filter(readable), kept)
    return frame, findings


def _see(raw: str | bytes | None, key: str) -> Seen:
    try:
        content = Path(raw).read_bytes() if isinstance(raw, str) else raw
    except OSError as error:
        return Seen(b"", None, f"{key}: {(error.strerror or 'cannot be read').lower()}")
    try:
        thumbnail = _thumbnail(content or b"")
    except Exception:
        try:  # the whole way of training, which knows what to say of the fault
            thumbnail = np.asarray(picture(content, key).convert("L").resize((_WIDTH, _HEIGHT)))
        except DataError as error:
            return Seen(b"", None, str(error))
    return Seen(hashlib.blake2b(content or b"", digest_size=16).digest(), thumbnail, "")


def _thumbnail(content: bytes) -> npt.NDArray[np.uint8]:
    """Grey and tiny, from a JPEG decoded at a fraction of its size; all of the file is read."""
    with Image.open(io.BytesIO(content)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError("too large")
        image.draft("L", (2 * _WIDTH, 2 * _HEIGHT))
        return np.asarray(image.convert("L").resize((_WIDTH, _HEIGHT), Image.Resampling.BILINEAR))


def _unreadable(keys: list[str], faults: list[str], looked: int) -> Finding:
    few = len(keys) <= _FEW * looked
    shown = "; ".join(faults[:5]) + (f"; and {len(faults) - 5:,} more" if len(faults) > 5 else "")
    if few:
        text = f"left out {len(keys):,} of {looked:,} pictures that cannot be read: {shown}"
        return Finding("unreadable_pictures", "warn", text, keys[:100])
    text = f"{len(keys):,} of {looked:,} pictures cannot be read, more than {_FEW:.0%}: {shown}"
    return Finding("unreadable_pictures", "stop", text, keys[:100])


# Copies across splits


def _copies(frame: pl.DataFrame, seen: list[Seen]) -> list[Finding]:
    """Copies in the test of pictures in train and val, and in val of those in train."""
    split, keys = frame["split"].to_numpy(), frame["key"].to_list()
    findings = []
    digests = np.array([s.digest for s in seen], "S16")
    thumbnails = np.array([s.thumbnail for s in seen], np.uint8).reshape(-1, _HEIGHT, _WIDTH)
    for part, others in (("test", ("train", "val")), ("val", ("train",))):
        here, there = np.flatnonzero(split == part), np.flatnonzero(np.isin(split, others))
        if not len(here) or not len(there):
            continue
        first = {d: i for i, d in zip(there[::-1].tolist(), digests[there[::-1]].tolist(), strict=True)}
        exact = {i: first[d] for i, d in zip(here.tolist(), digests[here].tolist(), strict=True) if d in first}
        rest = np.array([i for i in here.tolist() if i not in exact], np.int64)
        near = _near(thumbnails, rest, there)
        where = " or ".join(others)
        if exact:
            text = f"are in {where} as well, byte for byte"
            findings.append(_finding("duplicates_across_splits", exact, keys, part, len(here), text))
        if near:
            text = f"are near copies of one in {where}"
            findings.append(_finding("near_duplicates_across_splits", near, keys, part, len(here), text))
    return findings


def _finding(code: str, pairs: dict[int, int], keys: list[str], part: str, of: int, text: str) -> Finding:
    named = [f"{keys[i]} = {keys[j]}" for i, j in list(pairs.items())[:20]]
    said = f"{len(pairs):,} of {of:,} {part} pictures ({len(pairs) / of:.1%}) {text}, such as {named[0]}"
    may_stop = code == "duplicates_across_splits" and part == "test"
    return Finding(code, copies_level(len(pairs) / of, may_stop), said, named)


def copies_level(share: float, may_stop: bool) -> Literal["stop", "warn", "note"]:
    """How bad it is that this share of a split is in training too.

    From half of the test on it measures memory; under one in a hundred it moves the score less than chance.
    """
    if may_stop and share >= 0.5:
        return "stop"
    return "warn" if share >= 0.01 else "note"


def _near(thumbnails: npt.NDArray[np.uint8], here: Ints, there: Ints) -> dict[int, int]:
    """Pictures of `here` with a near copy in `there`, by index.

    References:
        The hash compares neighbouring pixels of a tiny grey picture, as N. Krawetz's dHash does.
    """
    if not len(here) or not len(there):
        return {}
    here, there = here[_shows(thumbnails[here])], there[_shows(thumbnails[there])]
    if not len(here) or not len(there):
        return {}
    (mine, ours), (others, theirs) = _described(thumbnails[here]), _described(thumbnails[there])
    least = 1 - _nearest_usually(ours, theirs) ** 2 * _RARE**2 / 2
    least = max(least, 1 - _UNLIKE**2 / 2)
    found: dict[int, int] = {}
    for block in _blocks(np.arange(len(here))):
        distance = np.bitwise_count(mine[block][:, None] ^ others[None, :])
        row, column = np.nonzero(distance <= _BITS)
        if len(row) > _CROWDED * distance.size:
            alike = (ours[block] @ theirs.T)[row, column] >= least
        else:
            alike = (ours[block[row]] * theirs[column]).sum(axis=1) >= least
        for i, j in zip(here[block[row[alike]]].tolist(), there[column[alike]].tolist(), strict=True):
            found.setdefault(i, j)
    return found


def _shows(thumbnails: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which thumbnails show enough to be told from others."""
    deviations: npt.NDArray[np.float32] = thumbnails.std(axis=(1, 2), dtype=np.float32)
    return deviations >= _FLAT


def _described(thumbnails: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float32]]:
    """Each thumbnail's hash, and its pixels brought to mean 0 and length 1, [n, pixels]."""
    grey = thumbnails.astype(np.float32)
    cells = grey.reshape(-1, 8, 2, 9, 2).mean(axis=(2, 4))
    bits = (cells[:, :, 1:] > cells[:, :, :-1]).reshape(-1, 64)
    vectors = grey.reshape(len(grey), -1)
    vectors -= vectors.mean(axis=1, keepdims=True)
    vectors /= np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0], vectors


def _nearest_usually(here: npt.NDArray[np.float32], there: npt.NDArray[np.float32]) -> float:
    """Median distance of a vector of `here` to the nearest of `there`."""
    some = np.arange(0, len(here), -(-len(here) // 256))
    nearest = np.concatenate([(here[block] @ there.T).max(axis=1) for block in _blocks(some)])
    return float(np.sqrt(2 - 2 * np.median(nearest).clip(-1, 1)))


def _blocks(indices: Ints, size: int = 64) -> Iterable[Ints]:
    return (indices[i : i + size] for i in range(0, len(indices), size))
