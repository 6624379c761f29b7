"""A bundle that came as one zip, unpacked once nothing in it can reach out or swell."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path

from torchkiln.bundle.files import MOST_FILES, check_name
from torchkiln.errors import BundleError

MOST_RATIO = 100
"""Bytes that one byte of an archive may become."""


def unpack(file: Path) -> Path:
    """A new temporary folder with the content of a zip; whoever asked removes it.

    Raises:
        BundleError: It is no zip, is damaged, or an entry of it is a link, a device, has a name outside the
            bundle, stands twice, or swells more than a hundredfold.
    """
    folder = Path(tempfile.mkdtemp(prefix="torchkiln-bundle-"))
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            _check(file, entries)
            for entry in entries:
                target = folder / entry.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, target.open("xb") as out:
                    shutil.copyfileobj(source, out, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise BundleError(f"{file} is no zip that can be unpacked ({error}); copy the bundle anew") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _check(file: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Refuse, before a byte is written, what no bundle of ours holds; sizes are what the reader goes by too."""
    if len(entries) > MOST_FILES:
        raise BundleError(f"{file} holds {len(entries):,} files; no bundle holds more than {MOST_FILES:,}")
    seen = set()
    for entry in entries:
        check_name(entry.filename, file)
        kind = stat.S_IFMT(entry.external_attr >> 16) if entry.create_system == 3 else 0
        if kind not in (0, stat.S_IFREG):
            what = "a link" if kind == stat.S_IFLNK else "no plain file"
            raise BundleError(f"{file}: {entry.filename!r} is {what}; a bundle holds plain files alone")
        if entry.flag_bits & 1:
            raise BundleError(f"{file}: {entry.filename!r} is encrypted; pack the bundle without a password")
        if entry.filename in seen:
            raise BundleError(f"{file}: {entry.filename!r} stands in it twice; copy the bundle anew")
        if entry.file_size > MOST_RATIO * max(1, entry.compress_size):
            raise BundleError(
                f"{file}: {entry.filename!r} would swell from {entry.compress_size:,} bytes to {entry.file_size:,}; "
                f"at most {MOST_RATIO} times is accepted"
            )
        seen.add(entry.filename)
    if sum(entry.compress_size for entry in entries) > file.stat().st_size:
        raise BundleError(f"{file} has entries that share their bytes; copy the bundle anew")
